"""The data model: label enums, Parquet schemas, schema version.

A table is made of *parts* written by the engine. Every row starts with the ledger
columns; a row is a sample (`status` ok), an item without a usable sample (`rejected`,
such as a frame without a face) or a whole unit that gave nothing (`failed`). A unit
always leaves at least one row, so the unit ids in the parts are what is done.
"""

from __future__ import annotations

from enum import StrEnum

import pyarrow as pa

SCHEMA_VERSION = "1"


class Label(StrEnum):
    """Real or fake; numerically 0 and 1 wherever a number is needed."""

    REAL = "real"
    FAKE = "fake"


class ForgeryType(StrEnum):
    """How a face was made; the order is the class index of the five-way tasks."""

    REAL = "REAL"
    FS = "FS"
    FR = "FR"
    EFS = "EFS"
    FE = "FE"

    @property
    def index(self) -> int:  # type: ignore[override]
        """Class index: REAL 0, FS 1, FR 2, EFS 3, FE 4."""
        return list(ForgeryType).index(self)

    @property
    def title(self) -> str:  # type: ignore[override]
        """The field's name of the type, as in "face swapping"."""
        return _TITLES[self]


_TITLES = {
    ForgeryType.REAL: "real face",
    ForgeryType.FS: "face swapping",
    ForgeryType.FR: "face reenactment",
    ForgeryType.EFS: "entire face synthesis",
    ForgeryType.FE: "face editing",
}


class Split(StrEnum):
    """Which part of the data a sample belongs to; `none` where a source declares no split."""

    TRAIN = "train"
    VAL = "val"
    TEST = "test"
    NONE = "none"


class Status(StrEnum):
    """What a row says: a sample, an unusable item, or a unit that failed as a whole."""

    OK = "ok"
    REJECTED = "rejected"
    FAILED = "failed"


class Simulated(StrEnum):
    """Whether self-blended forgeries and their pristine twins are among the samples."""

    EXCLUDE = "exclude"
    INCLUDE = "include"
    ONLY = "only"


class Media(StrEnum):
    """What a source file is; precropped images are never cropped again, and an archive holds such."""

    VIDEO = "video"
    IMAGE = "image"
    PRECROPPED = "precropped_image"
    ARCHIVE = "archive"


LEDGER = [
    pa.field("unit_id", pa.string(), nullable=False),
    pa.field("attempt", pa.int32(), nullable=False),
    pa.field("status", pa.string(), nullable=False),
    pa.field("reason", pa.string()),
    pa.field("detail", pa.string()),
]

PLACEMENT = [
    pa.field("pack", pa.string()),
    pa.field("offset", pa.int64()),
    pa.field("length", pa.int64()),
    pa.field("sha256", pa.string()),
]
"""Where a row's bytes lie: pack file name, byte offset and length of the tar member's data."""

PLACEMENT_COLUMNS = frozenset({"pack", "offset", "mask_offset"})
"""Columns that depend on which units finished together; all others are content."""

_SOURCE = [
    pa.field("sample_id", pa.string()),
    pa.field("source", pa.string()),
    pa.field("label", pa.string()),
    pa.field("type", pa.string()),
    pa.field("method", pa.string()),
    pa.field("compression", pa.string()),
    pa.field("label_note", pa.string()),
    pa.field("media", pa.string()),
    pa.field("src_path", pa.string()),
    pa.field("src_sha256", pa.string()),
    pa.field("frame_index", pa.int32()),
    pa.field("pts_ms", pa.float64()),
    pa.field("video_id", pa.string()),
    pa.field("identity_ids", pa.list_(pa.string())),
    pa.field("overlap_ids", pa.list_(pa.string())),
    pa.field("target_video", pa.string()),
    pa.field("donor_video", pa.string()),
    pa.field("pair_id", pa.string()),
    pa.field("pair_confidence", pa.string()),
    pa.field("licence", pa.string()),
    pa.field("split", pa.string()),
    pa.field("split_origin", pa.string()),
]

_FACE = [
    pa.field("box", pa.list_(pa.float32(), 4)),
    pa.field("landmarks5", pa.list_(pa.float32(), 10)),
    pa.field("landmarks", pa.list_(pa.float32())),
    pa.field("landmark_scheme", pa.string()),
    pa.field("det_score", pa.float32()),
    pa.field("detector", pa.string()),
    pa.field("face_index", pa.int32()),
    pa.field("role", pa.string()),
]

_CROP = [
    pa.field("spec_id", pa.string()),
    pa.field("crop_matrix", pa.list_(pa.float32(), 6)),
    pa.field("width", pa.int32()),
    pa.field("height", pa.int32()),
    pa.field("encoding", pa.string()),
    pa.field("phash", pa.string()),
    pa.field("sharpness", pa.float32()),
    pa.field("brightness", pa.float32()),
]

SAMPLES = pa.schema(LEDGER + _SOURCE + _FACE + _CROP + PLACEMENT)
"""One row per face crop. `box` (x0 y0 x1 y1) and landmarks are in source-frame pixels;
`crop_matrix` is the 2x3 affine, row by row, from source-frame to crop pixels."""

CAPTIONS = pa.schema(
    [
        *LEDGER,
        pa.field("sample_id", pa.string()),
        pa.field("face", pa.string()),
        pa.field("environment", pa.string()),
        pa.field("backend", pa.string()),
        pa.field("facts", pa.string()),
        pa.field("raw", pa.string()),
        pa.field("tries", pa.int32()),
        pa.field("model", pa.string()),
        pa.field("revision", pa.string()),
        pa.field("prompt_hash", pa.string()),
        pa.field("seed", pa.int64()),
        pa.field("temperature", pa.float32()),
        pa.field("prompt_tokens", pa.int32()),
        pa.field("completion_tokens", pa.int32()),
        pa.field("latency_s", pa.float64()),
    ]
)
"""One row per captioned sample; `facts` is the JSON of what was measured (`captioning.measured.Facts`) or
answered (`captioning.description.Description`). What a model answered is kept in `raw`; `tries` is 1, or 2
where the first answer could not be used; tokens and seconds count both."""

SIMULATED = pa.schema(
    [
        *LEDGER,
        *_SOURCE,
        pa.field("base_id", pa.string()),
        pa.field("recipe", pa.string()),
        pa.field("regions", pa.list_(pa.string())),
        pa.field("parameters", pa.string()),
        pa.field("conversations", pa.list_(pa.struct([("from", pa.string()), ("value", pa.string())]))),
        *_CROP,
        *PLACEMENT,
        pa.field("mask_offset", pa.int64()),
        pa.field("mask_length", pa.int64()),
        pa.field("mask_sha256", pa.string()),
    ]
)
"""One row per simulated forgery and one per pristine twin: `base_id` is the real sample it was made from,
`regions` what was forged (none in a twin), `parameters` the JSON of every drawn value, `conversations` a
dialogue about it as ShareGPT messages, `mask_*` the 8-bit PNG of the soft mask in the same pack."""

SCORES = pa.schema(
    [
        pa.field("sample_id", pa.string()),
        pa.field("source", pa.string()),
        pa.field("method", pa.string()),
        pa.field("type", pa.string()),
        pa.field("compression", pa.string()),
        pa.field("split", pa.string()),
        pa.field("video_id", pa.string()),
        pa.field("identity", pa.string()),
        pa.field("frame_index", pa.int32()),
        pa.field("face_index", pa.int32()),
        pa.field("label", pa.int8()),
        pa.field("score", pa.float32()),
        pa.field("predicted_type", pa.string()),
    ]
)
"""One row per scored sample: `label` 0 real, 1 fake; `score` is P(fake) in [0, 1]."""


def with_version(schema: pa.Schema) -> pa.Schema:
    """The schema with mmidd's schema version in its file metadata."""
    return schema.with_metadata({"mmidd_schema": SCHEMA_VERSION})
