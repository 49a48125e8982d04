"""Write the samples of a manifest into POSIX tar shards, byte-identical when repeated."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from mmidd import schema
from mmidd.engine.ledger import storage_errors
from mmidd.errors import DataError, StorageError, TooManyFailures
from mmidd.schema import Split
from mmidd.shards.card import dataset_card
from mmidd.shards.contents import Contents
from mmidd.shards.croissant import croissant
from mmidd.shards.index import (
    CARD_FILE,
    CROISSANT_FILE,
    ENTRIES,
    INDEX_FILE,
    LABEL_COLUMNS,
    REJECTED,
    REJECTED_FILE,
    SAMPLES_FILE,
    SHARD_NAME,
    Shard,
    ShardIndex,
)
from mmidd.shards.layout import (
    EXTENSIONS,
    Rejected,
    check_columns,
    expected_bytes,
    screen,
    shards_of,
    short_floats,
    shuffled,
)
from mmidd.shards.tar import MASK_EXTENSION, Buffer, Span, TarWriter
from mmidd.spec import PreprocessSpec

TARGET_BYTES = 256 * 2**20
"""Default upper mark of the mean shard size."""

_NOT_CONTENT = (
    {column.name for column in schema.LEDGER}
    | {column.name for column in schema.PLACEMENT if column.name != "sha256"}
    | {"mask_offset", "mask_length", "table", "__hash"}
)

Row = dict[str, Any]
ReadBlob = Callable[[Row], Buffer]

PLACES = ["key", "shard", *Span.__dataclass_fields__]


@dataclass(frozen=True)
class ShardSummary:
    """What `write_shards` wrote.

    Attributes:
        out: the folder of shards.
        shards: tar files written.
        bytes: their total size.
        samples: samples by split.
        rejected: manifest rows left out, by reason; `rejected.parquet` names each.
    """

    out: Path
    shards: int
    bytes: int
    samples: dict[str, int]
    rejected: dict[str, int]

    @property
    def failed_share(self) -> float:
        """Share of the given rows that were left out, in [0, 1]."""
        failed = sum(self.rejected.values())
        return failed / (failed + sum(self.samples.values()))


def write_shards(
    samples: pl.DataFrame,
    read: ReadBlob,
    out: Path,
    *,
    spec: PreprocessSpec,
    seed: int = 0,
    target_bytes: int = TARGET_BYTES,
    on_progress: Callable[[int, int], None] | None = None,
    read_mask: ReadBlob | None = None,
    left_out: Mapping[str, int] | None = None,
) -> ShardSummary:
    """Write every sample with its metadata into the shards of its split.

    Everything is written beside `out` and moved into place when complete, the index last. A
    write that fails or is killed before that leaves the previous shards as they were.

    Args:
        samples: rows of schema.SAMPLES, optionally with the captions `face` and `environment`
            and the columns of simulations; each column but those of the ledger and of the
            placement in packs goes into the sample's JSON.
        read: gives the encoded image of a row; its OSError or DataError rejects the row.
        out: the folder of shards.
        spec: preprocessing that made the crops.
        seed: seed of the global shuffle.
        target_bytes: upper mark of the mean shard size.
        on_progress: called with (rows done, rows in all) after each shard.
        read_mask: gives the mask of a row that has `mask_sha256`; without it masks are left out.
        left_out: how many samples were not even given, by what they are, for the dataset card.

    Raises:
        UsageError: `samples` is empty or lacks columns.
        TooManyFailures: no row could be written; the previous shards stay.
        StorageError: not enough room, or the folder cannot be written.
    """
    check_columns(samples)
    good, rejected = screen(samples, spec)
    ordered = shuffled(good, seed)
    with _staging(out, expected_bytes(ordered)) as stage:
        draft = _Draft(stage, read, rejected, read_mask=read_mask)
        for split in Split:
            part = ordered.filter(pl.col("split") == split.value)
            for number, rows in enumerate(shards_of(part, target_bytes)):
                draft.add_shard(f"{split.value}-{number:05d}.tar", split, rows)
                if on_progress:
                    on_progress(len(draft.entries) + len(draft.rejected), len(samples))
        if not draft.entries:
            reasons = ", ".join(f"{reason} {count}" for reason, count in _by_reason(draft.rejected).items())
            raise TooManyFailures(
                f"no sample could be sharded ({reasons}); run `mmidd verify` on the workspace"
            )
        index = draft.finish(ordered, spec, seed, left_out or {})
        _commit(stage, out, index)
    per_split = {split.value: sum(shard.samples for shard in index.of_split(split)) for split in Split}
    return ShardSummary(
        out=out,
        shards=len(index.shards),
        bytes=sum(shard.bytes for shard in index.shards),
        samples={split: count for split, count in per_split.items() if count},
        rejected=index.rejected,
    )


@dataclass
class _Draft:
    """The shards of one run while they are written into the staging folder."""

    stage: Path
    read: ReadBlob
    rejected: list[Rejected]
    read_mask: ReadBlob | None = None
    shards: list[Shard] = field(default_factory=list)
    entries: list[tuple[str | int, ...]] = field(default_factory=list)

    def add_shard(self, name: str, split: Split, rows: pl.DataFrame) -> None:
        """Write one tar; rows without a sound image are rejected."""
        sources, types = Counter[str](), Counter[str]()
        with TarWriter(self.stage / name) as tar:
            for row in short_floats(rows).iter_rows(named=True):
                try:
                    span = _add_sample(tar, row, self.read, self.read_mask)
                    self.entries.append((row["sample_id"], name, *astuple(span)))
                    sources[row["source"]] += 1
                    types[row["type"]] += 1
                except DataError as error:
                    self.rejected.append(Rejected(row["sample_id"], split.value, error.reason, error.detail))
        self.shards.append(
            Shard(
                name=name,
                split=split,
                sha256=tar.sha256,
                bytes=tar.size,
                samples=sources.total(),
                by_source=dict(sorted(sources.items())),
                by_type=dict(sorted(types.items())),
            )
        )

    def finish(
        self, ordered: pl.DataFrame, spec: PreprocessSpec, seed: int, left_out: Mapping[str, int]
    ) -> ShardIndex:
        """Write the tables, the documents and, last, the index."""
        places = pl.DataFrame(self.entries, schema=PLACES, orient="row")
        recipe = pl.col("recipe") if "recipe" in ordered.columns else pl.lit(None, pl.String).alias("recipe")
        labels = ordered.select("sample_id", *LABEL_COLUMNS, recipe)
        entries = places.join(labels, left_on="key", right_on="sample_id", how="left", maintain_order="left")
        _write_parquet(entries.select(ENTRIES.names).to_arrow().cast(ENTRIES), self.stage / SAMPLES_FILE)
        rejected = sorted(self.rejected, key=lambda item: (item.sample_id or "", item.reason))
        table = pa.Table.from_pylist([vars(item) for item in rejected], schema=REJECTED)
        _write_parquet(table, self.stage / REJECTED_FILE)
        with (self.stage / SAMPLES_FILE).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        index = ShardIndex(
            spec=spec,
            spec_id=spec.spec_id,
            seed=seed,
            samples=len(self.entries),
            samples_sha256=digest,
            rejected=_by_reason(rejected),
            shards=tuple(self.shards),
            documents={},
        )
        rows = ordered.join(places, left_on="sample_id", right_on="key", how="semi")
        masks = places.filter(pl.col("mask_length") > 0).height
        index = _documented(index, self.stage, rows, masks, left_out)
        index.save(self.stage)
        return index


def _documented(
    index: ShardIndex, stage: Path, rows: pl.DataFrame, masks: int, left_out: Mapping[str, int]
) -> ShardIndex:
    """Write the dataset card and the Croissant metadata; gives the index with their hashes."""
    images = sorted(EXTENSIONS[encoding] for encoding in rows["encoding"].unique())
    members = (*images, *([MASK_EXTENSION] if masks else []), "json")
    contents = Contents(index, rows.drop(_NOT_CONTENT, strict=False), members, masks, left_out)
    table_bytes = (stage / SAMPLES_FILE).stat().st_size
    texts = {CARD_FILE: dataset_card(contents), CROISSANT_FILE: croissant(contents, table_bytes)}
    hashes = {}
    for name, text in texts.items():
        (stage / name).write_bytes(text.encode())
        hashes[name] = hashlib.sha256(text.encode()).hexdigest()
    return index.model_copy(update={"documents": hashes})


def _add_sample(tar: TarWriter, row: Row, read: ReadBlob, read_mask: ReadBlob | None) -> Span:
    """Append a sample's members: image, mask if it has one, JSON."""
    image = _stored(row, read, "sha256")
    mask = _stored(row, read_mask, "mask_sha256") if read_mask and row.get("mask_sha256") else b""
    content = {column: value for column, value in row.items() if column not in _NOT_CONTENT}
    text = canonical_json(content)
    image_offset = tar.add(f"{row['sample_id']}.{EXTENSIONS[row['encoding']]}", image)
    mask_offset = tar.add(f"{row['sample_id']}.{MASK_EXTENSION}", mask) if mask else 0
    json_offset = tar.add(f"{row['sample_id']}.json", text)
    return Span(image_offset, len(image), mask_offset, len(mask), json_offset, len(text))


def _stored(row: Row, read: ReadBlob, column: str) -> Buffer:
    try:
        data = read(row)
    except OSError as error:
        raise DataError("unreadable", error.strerror or str(error)) from error
    if hashlib.sha256(data).hexdigest() != row[column]:
        raise DataError("wrong_hash", "the stored bytes differ from the manifest row")
    return data


def canonical_json(row: Mapping[str, Any]) -> bytes:
    """UTF-8 JSON with sorted keys and no white space.

    Raises:
        DataError: a value is not finite or not JSON.
    """
    try:
        text = json.dumps(row, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    except (ValueError, TypeError) as error:
        raise DataError("not_json", str(error)) from error
    return text.encode()


def _by_reason(rejected: list[Rejected]) -> dict[str, int]:
    return dict(sorted(Counter(item.reason for item in rejected).items()))


def _write_parquet(table: pa.Table, path: Path) -> None:
    versioned = table.replace_schema_metadata(schema.with_version(table.schema).metadata)
    pq.write_table(versioned, path, compression="zstd")


@contextmanager
def _staging(out: Path, needed: int) -> Iterator[Path]:
    """A fresh folder beside `out`, removed at the end; OS errors become StorageError."""
    stage = out.parent / f".{out.name}.partial"
    try:
        with storage_errors(out):
            out.parent.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(out.parent).free
            if free < needed:
                raise StorageError(
                    f"the shards need {needed / 1e9:.2f} GB, {out.parent} has {free / 1e9:.2f} GB left; "
                    "free space or choose another --workspace"
                )
            shutil.rmtree(stage, ignore_errors=True)
            stage.mkdir()
            yield stage
    finally:
        shutil.rmtree(stage, ignore_errors=True)


def _commit(stage: Path, out: Path, index: ShardIndex) -> None:
    """Move complete shards into place.

    The old index goes first: a kill between the moves leaves a folder that says it has no
    shards, never an index that disagrees with them.
    """
    out.mkdir(exist_ok=True)
    (out / INDEX_FILE).unlink(missing_ok=True)
    shards = {shard.name for shard in index.shards}
    for name in [*sorted(shards), SAMPLES_FILE, REJECTED_FILE, *index.documents, INDEX_FILE]:
        (stage / name).replace(out / name)
    for path in out.iterdir():
        if re.match(SHARD_NAME, path.name) and path.name not in shards:
            path.unlink()
