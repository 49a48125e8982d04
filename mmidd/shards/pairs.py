"""Epochs in which every fake comes with its own real: what differs within a pair is the forgery."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from mmidd.errors import UsageError
from mmidd.schema import Label
from mmidd.shards.plan import Indices


@dataclass(frozen=True, eq=False)
class PairedPlan:
    """The batches of one epoch: every fake once, in random order, each followed by a real.

    The real is the frame of the fake's original (equal `pair_id`) that is nearest in time. A fake
    without its original in the data takes the next of the reals that are no fake's original, or of
    all reals where there are none such, so that these are seen too.

    Attributes:
        rows: `ShardDataset.rows` of one split.
        seed: seed of the run.
        epoch: counted from 0.
        batch: samples per batch, an even number.

    Raises:
        UsageError: an odd batch, or no real or no fake.
    """

    rows: pl.DataFrame
    seed: int
    epoch: int
    batch: int

    def __post_init__(self) -> None:
        if self.batch % 2:
            raise UsageError(f"balance=pair needs an even batch, not {self.batch}; set batch")
        if self.rows["label"].n_unique() < 2:
            raise UsageError("balance=pair needs reals and fakes in the training split; ingest both")

    @cached_property
    def order(self) -> Indices:
        """Indices of the samples: fake, real, fake, real, ..."""
        rng = np.random.default_rng(np.random.SeedSequence([self.seed, self.epoch]))
        numbered = self.rows.select("label", "pair_id", "frame_index").with_row_index("index")
        fakes = numbered.filter(pl.col("label") == Label.FAKE.value)
        reals = numbered.filter(pl.col("label") == Label.REAL.value)
        partner = _originals(fakes, reals)
        lonely = np.setdiff1d(reals["index"].to_numpy(), partner[partner >= 0])
        pool = lonely if len(lonely) else reals["index"].to_numpy()
        missing = np.nonzero(partner < 0)[0]
        partner[missing] = np.resize(rng.permutation(pool), len(missing))
        shuffle = rng.permutation(fakes.height)
        return np.column_stack([fakes["index"].to_numpy(), partner])[shuffle].ravel().astype(np.int64)

    @property
    def steps(self) -> int:
        """Batches of the epoch."""
        return -(-len(self.order) // self.batch)

    def batches(self, start: int = 0) -> Iterator[list[int]]:
        """The batches from number `start` on; the last may be smaller."""
        for step in range(start, self.steps):
            yield self.order[step * self.batch : (step + 1) * self.batch].tolist()


def _originals(fakes: pl.DataFrame, reals: pl.DataFrame) -> Indices:
    """Index of the nearest real frame with the pair id of each fake, -1 where there is none."""
    joined = (
        fakes.join(reals, on="pair_id", how="left", suffix="_real")
        .with_columns(gap=(pl.col("frame_index") - pl.col("frame_index_real")).abs())
        .sort("index", "gap", "index_real")
        .unique("index", keep="first", maintain_order=True)
    )
    return joined["index_real"].cast(pl.Int64).fill_null(-1).to_numpy().copy()
