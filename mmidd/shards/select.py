"""Which rows of a workspace go into shards: samples and simulations, with their captions."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from mmidd.captioning.stage import NAME as MEASURED
from mmidd.errors import UsageError
from mmidd.ingest.base import evaluation_sources
from mmidd.schema import Split
from mmidd.where import matched
from mmidd.workspace import Workspace


@dataclass(frozen=True)
class Selection:
    """Rows to shard.

    Attributes:
        rows: samples and simulations of train, val and test with the columns `face` and
            `environment`, null where a sample has no caption.
        no_split: usable samples left out because their source gives them no split.
        kept_apart: training and validation samples of evaluation sources, which are left out too.
        unmatched: usable samples and simulations for which the condition does not hold.
        audited: samples that the audit left out, by reason.
    """

    rows: pl.DataFrame
    no_split: int
    kept_apart: int
    unmatched: int
    audited: dict[str, int]

    @property
    def left_out(self) -> dict[str, int]:
        """How many samples were left out, by what they are."""
        counts = {
            "not matching --where": self.unmatched,
            "without a split": self.no_split,
            "train and val samples of evaluation sources": self.kept_apart,
            **{f"audit: {reason}": count for reason, count in self.audited.items()},
        }
        return {what: count for what, count in counts.items() if count}

    def describe(self) -> str:
        """One line for people."""
        captioned = self.rows["face"].is_not_null().sum()
        left = ", ".join(f"{count:,} {what}" for what, count in self.left_out.items())
        return f"{self.rows.height:,} samples, {captioned:,} with captions{left and f'; left out: {left}'}"


def select(workspace: Workspace, train_on_eval: bool = False, where: str | None = None) -> Selection:
    """All usable rows that have a split; a simulation takes the captions of its real.

    Where a sample has several captions, a model's go before measured ones, then the last name counts.

    Args:
        workspace: an opened workspace.
        train_on_eval: keep what evaluation sources call train and val, too.
        where: SQL condition on the columns of samples, simulations and captions; a simulation is
            asked for its own columns, not for those of its real.

    Raises:
        UsageError: the condition cannot be used, or nothing fulfils it.
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
    asked = matched(rows, where)
    if asked.is_empty() and not rows.is_empty():
        raise UsageError("no sample fulfils --where; widen it, `mmidd status` shows what there is")
    split = asked["split"].fill_null(Split.NONE.value) != Split.NONE.value
    placed = asked.filter(split)
    evaluation = [] if train_on_eval else sorted(evaluation_sources())
    apart = placed["source"].is_in(evaluation) & (placed["split"] != Split.TEST.value)
    return Selection(
        rows=placed.filter(~apart),
        no_split=int((~split).sum()),
        kept_apart=int(apart.sum()),
        unmatched=rows.height - asked.height,
        audited=workspace.excluded(),
    )
