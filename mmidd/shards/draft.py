"""What belongs to finished shards: tables, documents and, last, the index."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from mmidd import schema
from mmidd.files import sha256_of
from mmidd.shards.card import dataset_card
from mmidd.shards.content import content
from mmidd.shards.contents import Contents
from mmidd.shards.croissant import croissant
from mmidd.shards.index import (
    CARD_FILE,
    CROISSANT_FILE,
    ENTRIES,
    LABEL_COLUMNS,
    REJECTED,
    REJECTED_FILE,
    SAMPLES_FILE,
    Shard,
    ShardIndex,
)
from mmidd.shards.layout import EXTENSIONS, Planned, Rejected
from mmidd.shards.staging import Staged
from mmidd.shards.tar import MASK_EXTENSION
from mmidd.spec import PreprocessSpec


@dataclass(frozen=True, eq=False)
class Draft:
    """All shards of a run, written but not published.

    Attributes:
        shards: what was planned, and what became of it.
        screened: rows that were left out before.
    """

    shards: Sequence[tuple[Planned, Staged]]
    screened: Sequence[Rejected]

    @property
    def rejected(self) -> list[Rejected]:
        """Every row that was left out, in the order of the keys."""
        found = [
            Rejected(key, planned.split.value, reason, detail)
            for planned, staged in self.shards
            for key, reason, detail in staged.rejected
        ]
        return sorted([*self.screened, *found], key=lambda item: (item.sample_id or "", item.reason))

    @property
    def samples(self) -> int:
        """Samples in all shards."""
        return sum(staged.entries.height for _, staged in self.shards)

    def finish(self, stage: Path, spec: PreprocessSpec, seed: int, left_out: Mapping[str, int]) -> ShardIndex:
        """Write the tables, the documents and the index into the staging folder."""
        rows = pl.concat(planned.rows for planned, _ in self.shards)
        entries = self._entries(rows)
        _write_parquet(entries.select(ENTRIES.names).to_arrow().cast(ENTRIES), stage / SAMPLES_FILE)
        rejected = self.rejected
        _write_parquet(
            pa.Table.from_pylist([vars(item) for item in rejected], schema=REJECTED), stage / REJECTED_FILE
        )
        index = ShardIndex(
            spec=spec,
            spec_id=spec.spec_id,
            seed=seed,
            samples=entries.height,
            samples_sha256=sha256_of(stage / SAMPLES_FILE),
            samples_bytes=(stage / SAMPLES_FILE).stat().st_size,
            rejected=by_reason(rejected),
            shards=tuple(_shard(planned, staged) for planned, staged in self.shards),
            documents={},
        )
        written = rows.join(entries, left_on="sample_id", right_on="key", how="semi")
        masks = entries.filter(pl.col("mask_length") > 0).height
        index = _documented(index, stage, written, masks, left_out)
        index.save(stage)
        return index

    def _entries(self, rows: pl.DataFrame) -> pl.DataFrame:
        places = pl.concat(
            staged.entries.with_columns(shard=pl.lit(planned.name)) for planned, staged in self.shards
        )
        recipe = pl.col("recipe") if "recipe" in rows.columns else pl.lit(None, pl.String).alias("recipe")
        labels = rows.select("sample_id", *LABEL_COLUMNS, recipe)
        return places.join(labels, left_on="key", right_on="sample_id", how="left", maintain_order="left")


def by_reason(rejected: Iterable[Rejected]) -> dict[str, int]:
    """How many rows were left out, by reason."""
    return dict(sorted(Counter(item.reason for item in rejected).items()))


def _shard(planned: Planned, staged: Staged) -> Shard:
    rows = planned.rows.select("sample_id", "source", "type").join(
        staged.entries, left_on="sample_id", right_on="key", how="semi"
    )
    return Shard(
        name=planned.name,
        split=planned.split,
        unit=staged.unit,
        sha256=staged.sha256,
        bytes=staged.bytes,
        samples=rows.height,
        by_source=_counts(rows["source"]),
        by_type=_counts(rows["type"]),
    )


def _counts(values: pl.Series) -> dict[str, int]:
    return dict(sorted(values.value_counts().iter_rows()))


def _documented(
    index: ShardIndex, stage: Path, rows: pl.DataFrame, masks: int, left_out: Mapping[str, int]
) -> ShardIndex:
    """Write the dataset card and the Croissant metadata; gives the index with their hashes."""
    images = sorted(EXTENSIONS[encoding] for encoding in rows["encoding"].unique())
    members = (*images, *([MASK_EXTENSION] if masks else []), "json")
    contents = Contents(index, content(rows), members, masks, left_out)
    table_bytes = (stage / SAMPLES_FILE).stat().st_size
    texts = {CARD_FILE: dataset_card(contents), CROISSANT_FILE: croissant(contents, table_bytes)}
    hashes = {}
    for name, text in texts.items():
        (stage / name).write_bytes(text.encode())
        hashes[name] = hashlib.sha256(text.encode()).hexdigest()
    return index.model_copy(update={"documents": hashes})


def _write_parquet(table: pa.Table, path: Path) -> None:
    versioned = table.replace_schema_metadata(schema.with_version(table.schema).metadata)
    pq.write_table(versioned, path, compression="zstd")
