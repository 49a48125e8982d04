"""How well orders are shuffled: mmidd's plan, whole and in windows, and webdataset's shuffle buffers.

    python benchmarks/shuffling.py

The split has families of a real and five fakes, 32 frames each, in shards as `mmidd shard` writes them.
Of each order is measured:

- families: distinct families in a batch, over their number in a random batch (1 is perfect);
- label: deviation of the share of fakes in a batch, over the binomial one (1 is random, 0 is balanced);
- moved: mean distance of a sample's places in two epochs, over that of independent orders (1 is perfect).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import webdataset as wds
from numpy.typing import NDArray

from mmidd.shards.plan import Sampler
from mmidd.shards.sampling import Sampling

RESULTS = Path(__file__).parent / "results" / "shuffling.json"
BATCH = 128
FRAMES = 32
Order = NDArray[np.int64]


class Split:
    """Label columns of the split; the shard of a sample is its family's, its place there is random."""

    def __init__(self, families: int, per_shard: int) -> None:
        rng = np.random.default_rng(0)
        family = np.repeat(np.arange(families), 6 * FRAMES)
        shards = max(1, len(family) // per_shard)
        shard = rng.integers(0, shards, families)[family]
        order = np.lexsort((rng.random(len(family)), shard))
        self.family, self.shard = family[order], shard[order]
        self.fake = (np.arange(len(family)) // FRAMES % 6 > 0)[order]

    def __len__(self) -> int:
        return len(self.family)

    def column(self, name: str) -> pa.ChunkedArray:
        """See `Columns`."""
        values = {
            "shard": [f"train-{number:05d}.tar" for number in self.shard],
            "label": ["fake" if fake else "real" for fake in self.fake],
            "pair_id": [f"f{number}" for number in self.family],
        }
        return pa.chunked_array([values[name]])


def planned(split: Split, **sampling: Any) -> Iterator[Order]:
    """Two epochs of a plan."""
    sampler = Sampler(split, Sampling.model_validate(sampling), 0, BATCH)
    return (sampler.epoch(number).draws.ravel().astype(np.int64) for number in range(2))


def buffered(split: Split, buffer: int) -> Iterator[Order]:
    """Two epochs of webdataset: shuffled shards, then a buffer of so many samples."""
    members = [np.flatnonzero(split.shard == number) for number in np.unique(split.shard)]
    for epoch in range(2):
        rng = np.random.default_rng(epoch)
        flow = (sample for shard in rng.permutation(len(members)) for sample in members[shard])
        shuffled = wds.filters.shuffle(buffer, initial=buffer, seed=epoch)(flow)
        yield np.fromiter(shuffled, dtype=np.int64)


def quality(split: Split, orders: Iterator[Order]) -> dict[str, float]:
    """The three figures of two epochs."""
    first, second = orders
    rng = np.random.default_rng(1)
    random = [rng.permutation(len(split)) for _ in range(3)]
    share = split.fake.mean()
    return {
        "families": _families(split, first) / (sum(_families(split, order) for order in random) / 3),
        "label": float(np.std(_batches(split.fake[first]).mean(axis=1)))
        / float(np.sqrt(share * (1 - share) / BATCH)),
        "moved": float(np.abs(_places(first, len(split)) - _places(second, len(split))).mean() * 3),
    }


def _families(split: Split, order: Order) -> float:
    return float(np.mean([len(np.unique(batch)) for batch in _batches(split.family[order])]))


def _batches(values: NDArray[Any]) -> NDArray[Any]:
    return values[: len(values) // BATCH * BATCH].reshape(-1, BATCH)


def _places(order: Order, size: int) -> NDArray[np.float64]:
    places = np.empty(size)
    places[order] = np.arange(len(order)) / len(order)
    return places


def main() -> None:
    """Print and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--families", type=int, default=720)
    parser.add_argument("--per-shard", type=int, default=4_000)
    arguments = parser.parse_args()
    split = Split(arguments.families, arguments.per_shard)
    orders = {
        "whole": planned(split),
        "window 16": planned(split, window=16),
        "window 4": planned(split, window=4),
        "window 4, labels equal, families apart": planned(split, window=4, by=["label"], apart="family"),
        "webdataset, buffer 1,000": buffered(split, 1_000),
        "webdataset, buffer 10,000": buffered(split, 10_000),
    }
    result = {name: quality(split, order) for name, order in orders.items()}
    size = {"samples": len(split), "shards": len(np.unique(split.shard)), "batch": BATCH}
    RESULTS.write_text(json.dumps(size | {"orders": result}, indent=1) + "\n")
    print(json.dumps(size))
    for name, figures in result.items():
        print(f"{name:40}" + "".join(f"  {what} {value:5.2f}" for what, value in figures.items()))


if __name__ == "__main__":
    main()
