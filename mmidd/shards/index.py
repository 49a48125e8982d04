"""What a folder of shards holds: `index.json` (shards) and `samples.parquet` (samples)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from mmidd import schema
from mmidd.errors import UsageError
from mmidd.schema import SCHEMA_VERSION, Split
from mmidd.spec import PreprocessSpec
from mmidd.storage import Folder, open_folder

INDEX_FILE = "index.json"
SAMPLES_FILE = "samples.parquet"
REJECTED_FILE = "rejected.parquet"
CARD_FILE: Literal["README.md"] = "README.md"
CROISSANT_FILE: Literal["croissant.json"] = "croissant.json"

SHARD_NAME = r"^(train|val|test|none)-\d{5,}\.tar$"

LABEL_COLUMNS = (
    "split",
    "label",
    "type",
    "method",
    "source",
    "compression",
    "video_id",
    "pair_id",
    "identity_ids",
    "frame_index",
    "face_index",
    "landmark_scheme",
)
"""Columns of schema.SAMPLES repeated in `samples.parquet`, so that plans need no tar."""

ENTRIES = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),
        pa.field("shard", pa.string(), nullable=False),
        pa.field("image_offset", pa.int64(), nullable=False),
        pa.field("image_length", pa.int64(), nullable=False),
        pa.field("mask_offset", pa.int64(), nullable=False),
        pa.field("mask_length", pa.int64(), nullable=False),
        pa.field("json_offset", pa.int64(), nullable=False),
        pa.field("json_length", pa.int64(), nullable=False),
        *(schema.SAMPLES.field(name) for name in LABEL_COLUMNS),
        schema.SIMULATED.field("recipe").with_nullable(True),
    ]
)
"""One row per sample, in the order of the shards; offsets are those of the members' data, a mask's length
is 0 where there is none, `recipe` is that of a simulation and null for a sample from a source."""

REJECTED = pa.schema([pa.field(name, pa.string()) for name in ("sample_id", "split", "reason", "detail")])
"""One row per manifest row that could not be written."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Shard(_Frozen):
    """One tar file: its hash, size in bytes, and how many samples of what it holds.

    `unit` is the hash of all that the file was written from but the images, which its rows name by hash.
    """

    name: str = Field(pattern=SHARD_NAME)
    split: Split
    unit: str
    sha256: str
    bytes: int
    samples: int
    by_source: dict[str, int]
    by_type: dict[str, int]


class ShardIndex(_Frozen):
    """Everything about a folder of shards but its samples.

    Attributes:
        schema_version: mmidd's schema version when the shards were written.
        spec: preprocessing that made the crops.
        spec_id: id of `spec`.
        seed: seed of the global shuffle.
        samples: samples in all shards.
        samples_sha256: SHA-256 of `samples.parquet`.
        samples_bytes: its size.
        rejected: manifest rows left out, counted by reason; `rejected.parquet` names them.
        shards: the tar files, in order.
        documents: SHA-256 of the dataset card and of the Croissant metadata.
    """

    schema_version: str = SCHEMA_VERSION
    spec: PreprocessSpec
    spec_id: str
    seed: int
    samples: int
    samples_sha256: str
    samples_bytes: int
    rejected: dict[str, int]
    shards: tuple[Shard, ...]
    documents: dict[Literal["README.md", "croissant.json"], str]

    @classmethod
    def load(cls, folder: Folder | Path) -> ShardIndex:
        """Read `index.json`.

        Raises:
            UsageError: the folder has no index, or one this version cannot read.
        """
        folder = open_folder(folder) if isinstance(folder, Path) else folder
        try:
            text = folder.read(INDEX_FILE)
        except (FileNotFoundError, NotADirectoryError):
            raise UsageError(f"no shards in {folder.where}; run `mmidd shard` first") from None
        try:
            index = cls.model_validate_json(text)
        except ValidationError as error:
            where = ".".join(str(part) for part in error.errors()[0]["loc"]) or "text"
            raise UsageError(
                f"{folder.where}/{INDEX_FILE} is damaged or of another version ({where}); run `mmidd shard` "
                "again"
            ) from None
        if index.schema_version != SCHEMA_VERSION:
            raise UsageError(
                f"the shards in {folder.where} have schema version {index.schema_version}, this mmidd reads "
                f"{SCHEMA_VERSION}; run `mmidd shard` again"
            )
        return index

    def save(self, folder: Path) -> None:
        """Write `index.json` as canonical text."""
        text = self.model_dump_json(indent=1) + "\n"
        (folder / INDEX_FILE).write_text(text, encoding="utf-8")

    def of_split(self, split: Split) -> tuple[Shard, ...]:
        """The shards of one split."""
        return tuple(shard for shard in self.shards if shard.split is split)


def read_entries(folder: Path, split: Split | None = None) -> pa.Table:
    """Rows of `samples.parquet` (schema `ENTRIES`), of one split or of all.

    Raises:
        UsageError: the file is missing, damaged or of another schema.
    """
    filters = None if split is None else [("split", "=", split.value)]
    try:
        return pq.read_table(folder / SAMPLES_FILE, schema=ENTRIES, filters=filters)
    except (OSError, pa.ArrowException) as error:
        reason = str(error).splitlines()[0]
        raise UsageError(f"cannot read {folder / SAMPLES_FILE} ({reason}); run `mmidd shard` again") from None
