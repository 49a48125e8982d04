"""Time, memory and recall of the near-duplicate search on synthetic hashes with planted pairs.

    python benchmarks/audit.py --out benchmarks/results/audit.json

Two shapes of data, each searched in a process of its own. `uniform`: independent random hashes.
`video`: videos of 32 near-identical frames with dependent bits, as those of face crops are; only
pairs across videos are wanted. In both, pairs at every distance from 0 to the radius are planted
across groups, 1,000 of each, and the search must return every one at its distance.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import platform
import resource
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmidd.audit.hamming import Hashes, Ints, Pairs, near_pairs, plan

FRAMES, PLANTED, FACTORS = 32, 1000, 32


@dataclass(frozen=True)
class Result:
    """One search; `missed` counts planted pairs that were not returned at their distance."""

    shape: str
    hashes: int
    radius: int
    bands: int
    planted: int
    missed: int
    pairs: int
    seconds: float
    cpu_seconds: float
    peak_gb: float


def flips(rng: np.random.Generator, count: int, bits: int) -> Hashes:
    """Masks with exactly `bits` of 64 bits set."""
    chosen = rng.random((count, 64)).argpartition(bits, axis=1)[:, :bits]
    one = np.uint64(1) << chosen.astype(np.uint64)
    return np.bitwise_or.reduce(one, axis=1) if bits else np.zeros(count, np.uint64)


def uniform(rng: np.random.Generator, size: int) -> tuple[Hashes, Ints]:
    """Independent hashes, each a group."""
    return rng.integers(0, 2**64, size, dtype=np.uint64), np.arange(size)


def video(rng: np.random.Generator, size: int) -> tuple[Hashes, Ints]:
    """Frames that differ in up to four bits from the hash of their video, whose bits share factors."""
    videos = -(-size // FRAMES)
    weights, bias = rng.normal(size=(FACTORS, 64)), rng.normal(size=64) / 2
    signs = rng.normal(size=(videos, FACTORS)) @ weights + bias > 0
    hashes = np.repeat(np.packbits(signs, axis=1).view(np.uint64).ravel(), FRAMES)[:size]
    for _ in range(4):
        hashes = hashes ^ (np.uint64(1) << rng.integers(0, 64, size).astype(np.uint64))
    return hashes, np.repeat(np.arange(videos), FRAMES)[:size]


def plant(
    rng: np.random.Generator, hashes: Hashes, groups: Ints, radius: int
) -> tuple[Ints, Ints, NDArray[np.uint8]]:
    """Overwrite hashes by near copies of hashes of other groups; `i`, `j` and distance of each."""
    places = rng.permutation(len(hashes))[: 2 * PLANTED * (radius + 1)].reshape(radius + 1, 2, PLANTED)
    for distance, (source, copy) in enumerate(places):
        hashes[copy] = hashes[source] ^ flips(rng, PLANTED, distance)
    i, j = places[:, 0].ravel(), places[:, 1].ravel()
    distances = np.repeat(np.arange(radius + 1, dtype=np.uint8), PLANTED)
    across = groups[i] != groups[j]
    return i[across], j[across], distances[across]


def missed(found: Pairs, planted: tuple[Ints, Ints, NDArray[np.uint8]], size: int) -> int:
    """Planted pairs that were not found at their distance."""
    i, j, distance = planted
    asked = (np.minimum(i, j) * size + np.maximum(i, j)) * 65 + distance
    return int((~np.isin(asked, (found.i * size + found.j) * 65 + found.distance)).sum())


def measure(shape: str, size: int, radius: int) -> Result:
    """Search once."""
    rng = np.random.default_rng(0)
    hashes, groups = {"uniform": uniform, "video": video}[shape](rng, size)
    planted = plant(rng, hashes, groups, radius)
    bands = len(plan(np.unique(hashes), radius))
    start, cpu = time.perf_counter(), time.process_time()
    found = near_pairs(hashes, radius, groups)
    seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return Result(
        shape,
        size,
        radius,
        bands,
        len(planted[0]),
        missed(found, planted, size),
        len(found),
        round(seconds, 1),
        round(cpu, 1),
        round(peak, 2),
    )


def main() -> None:
    """Measure both shapes and print or write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", type=int, default=3_600_000)
    parser.add_argument("--radius", type=int, default=6)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    results = []
    for shape in ("uniform", "video"):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            results.append(pool.apply(measure, (shape, given.size, given.radius)))
        print(results[-1])
    machine = {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    report = {"machine": machine, "numpy": np.__version__, "searches": [asdict(r) for r in results]}
    if given.out:
        given.out.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
