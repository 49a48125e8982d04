"""Which rows of a workspace go into shards: samples and simulations, with their captions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl

from mmidd.captioning.stage import NAME as MEASURED
from mmidd.ingest.base import evaluation_sources
from mmidd.schema import Split
from mmidd.workspace import Workspace


@dataclass(frozen=True)
class Selection:
    """Rows to shard.

    Attributes:
        rows: samples and simulations of train, val and test with the columns `face` and
            `environment`, null where a sample has no caption.
        no_split: usable samples left out because their source gives them no split.
        kept_apart: training and validation samples of evaluation sources, which are left out too.
    """

    rows: pl.DataFrame
    no_split: int
    kept_apart: int

    def describe(self) -> str:
        """One line for people."""
        captioned = self.rows["face"].is_not_null().sum()
        left = f"; {self.no_split:,} without a split are left out" if self.no_split else ""
        if self.kept_apart:
            left += f"; {self.kept_apart:,} train and val samples of evaluation sources are left out"
        return f"{self.rows.height:,} samples, {captioned:,} with captions{left}"


def select(workspace: Workspace, train_on_eval: bool = False) -> Selection:
    """All usable rows that have a split; a simulation takes the captions of its real.

    Where a sample has several captions, a model's go before measured ones, then the last name counts.

    Args:
        workspace: an opened workspace.
        train_on_eval: keep what evaluation sources call train and val, too.
    """
    by_model = (pl.col("backend") != MEASURED).alias("by_model")
    captions = (
        workspace.captions()
        .sort(by_model, "backend")
        .unique("sample_id", keep="last", maintain_order=True)
        .select("sample_id", "face", "environment")
    )
    samples = workspace.samples().with_columns(caption_id=pl.col("sample_id"))
    simulated = workspace.simulated().with_columns(caption_id=pl.col("base_id"))
    rows = (
        pl.concat([samples, simulated], how="diagonal")
        .join(captions, left_on="caption_id", right_on="sample_id", how="left")
        .drop("caption_id")
        .sort("sample_id")
        .collect()
    )
    split = rows["split"].fill_null(Split.NONE.value) != Split.NONE.value
    placed = rows.filter(split)
    evaluation = [] if train_on_eval else sorted(evaluation_sources())
    apart = placed["source"].is_in(evaluation) & (placed["split"] != Split.TEST.value)
    return Selection(placed.filter(~apart), int((~split).sum()), int(apart.sum()))


def read_mask(workspace: Workspace) -> Callable[[dict[str, Any]], bytes]:
    """Read a row's mask from its pack."""

    def read(row: dict[str, Any]) -> bytes:
        return workspace.read_blob(row["table"], row["pack"], row["mask_offset"], row["mask_length"])

    return read


def read_blob(workspace: Workspace) -> Callable[[dict[str, Any]], bytes]:
    """Read a row's image from its pack."""

    def read(row: dict[str, Any]) -> bytes:
        return workspace.read_blob(row["table"], row["pack"], row["offset"], row["length"])

    return read
