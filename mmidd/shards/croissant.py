"""Croissant 1.0 metadata of a folder of shards: `croissant.json`.

Format: https://docs.mlcommons.org/croissant/docs/croissant-spec.html. What only a publisher knows
(`url`, `creator`, `datePublished`) is not in it.
"""

from __future__ import annotations

import json
from typing import Any

import pyarrow as pa

from mmidd.shards.contents import TERMS, TITLE, Contents, licences
from mmidd.shards.index import ENTRIES, SAMPLES_FILE

RECORDS = "samples"

_TERMS_OF_CROISSANT = (
    "citeAs column conformsTo equivalentProperty extract field fileProperty fileObject fileSet format "
    "includes isLiveDataset jsonPath key md5 parentField path recordSet references regex repeated replace "
    "samplingRate separator source subField transform"
)

_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    **{term: f"cr:{term}" for term in _TERMS_OF_CROISSANT.split()},
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
}

_MEANING = {
    "key": "Name of the sample's members in its shard, without extension.",
    "shard": "The tar file that holds the sample.",
    "split": "train, val or test.",
    "label": "real or fake.",
    "type": "REAL, FS (face swapping), FR (reenactment), EFS (entire synthesis) or FE (editing).",
    "method": "What made the forgery.",
    "source": "The dataset that the sample is from.",
    "compression": "Quality level of the source, where it has several.",
    "video_id": "Frames of one video share it.",
    "pair_id": "The video id of the original.",
    "identity_ids": "The people in it, target first.",
    "frame_index": "Number of the frame in its video.",
    "face_index": "Number of the face in its frame.",
    "landmark_scheme": "Which landmarks its JSON has.",
    "recipe": "How it was simulated; absent in samples from a source.",
}


def croissant(contents: Contents, table_bytes: int) -> str:
    """The JSON-LD text.

    Args:
        contents: what the folder holds.
        table_bytes: size of `samples.parquet`.
    """
    index = contents.index
    table = _file(SAMPLES_FILE, "application/x-parquet", table_bytes, index.samples_sha256)
    tars = [_file(shard.name, "application/x-tar", shard.bytes, shard.sha256) for shard in index.shards]
    document = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": "mmidd-shards",
        "description": f"{TITLE}: {index.samples:,} samples. {TERMS}",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "license": [f"{source}: {terms}" for source, terms in licences(contents).items()],
        "version": f"{index.schema_version}.0.0",
        "distribution": [table, *tars],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": RECORDS,
                "name": RECORDS,
                "description": "One record per sample, in the order of the shards.",
                "key": {"@id": f"{RECORDS}/key"},
                "field": [_field(column) for column in ENTRIES],
            }
        ],
    }
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


def _file(name: str, encoding: str, size: int, sha256: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "contentSize": f"{size} B",
        "encodingFormat": encoding,
        "sha256": sha256,
    }


def _field(column: pa.Field) -> dict[str, Any]:
    repeated = pa.types.is_list(column.type)
    value = column.type.value_type if repeated else column.type
    part, _, what = column.name.partition("_")
    place = f"{what.capitalize()} of the {part}'s data in the shard, in bytes."
    return {
        "@type": "cr:Field",
        "@id": f"{RECORDS}/{column.name}",
        "name": column.name,
        "description": _MEANING.get(column.name, place),
        "dataType": "sc:Integer" if pa.types.is_integer(value) else "sc:Text",
        **({"repeated": True} if repeated else {}),
        "source": {"fileObject": {"@id": SAMPLES_FILE}, "extract": {"column": column.name}},
    }
