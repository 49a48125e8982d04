"""Forgeries per second of mmidd against the recipe written with albumentations and floats, in one run.

    pip install --no-deps --target A albumentations==1.3.1 qudida
    pip install --no-deps --target B albumentations==2.0.8 albucore==0.0.24 stringzilla simsimd
    OMP_NUM_THREADS=1 python -m benchmarks.blend --peer A --peer B --out benchmarks/results/blend.json

One thread each, 256-pixel crop of matplotlib's sample portrait, final augmentation included, medians of
interleaved rounds. Then what a blend's time goes into, whether both draw from the same distributions
(two-sample Kolmogorov-Smirnov), and the memory over `--memory` blends.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import pstats
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from scipy.stats import ks_2samp

from benchmarks.blend_measures import measures, portrait
from mmidd.preprocess.blend.compose import poisson_blend
from mmidd.preprocess.blend.masks import hull_mask
from mmidd.preprocess.blend.recipe import RECIPES, RecipeName
from mmidd.preprocess.blend.regions import region_points
from mmidd.preprocess.blend.render import finished
from mmidd.preprocess.detectors.base import Pixels
from mmidd.preprocess.simulate import simulate_sample

Ours = Callable[[int], tuple[Pixels, Pixels, Any]]
STEPS = ("apply", "displacement", "elastic", "soften", "alpha_blend", "hull_mask", "draw_sbi", "generator")


def main() -> None:
    """Time, profile, compare and watch the memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", type=Path, action="append", default=[], help="folder with albumentations")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", type=int, default=100_000)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    recipes = {name: ours(name) for name in RECIPES}
    peers = [Peer(folder) for folder in arguments.peer]
    rates = speeds(recipes, peers, arguments.pairs, arguments.rounds)
    found: dict[str, Any] = {"opencv": cv2.__version__, "pairs_per_s": rates}
    found["sbi_over"] = {peer.name: round(rates["sbi"] / rates[peer.name], 2) for peer in peers}
    found["poisson_ms"] = poisson(arguments.rounds)
    found["share_of_time"] = profile(recipes["sbi"], 5 * arguments.pairs)
    drawn = [
        measures(real, fake, mask / 255)
        for real, fake, mask in map(recipes["sbi"], range(5 * arguments.pairs))
    ]
    found["same_distribution"] = {
        peer.name: compare(drawn, peer.ask(f"{5 * arguments.pairs} measures")) for peer in peers
    }
    found["peak_memory_mb"] = memory(recipes["sbi"], arguments.memory)
    text = json.dumps(found, indent=1)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")


def ours(recipe: RecipeName) -> Ours:
    """The k-th pair of the sample portrait."""
    crop, marks = portrait()

    def pair(k: int) -> tuple[Pixels, Pixels, Any]:
        blend = finished(simulate_sample(crop, marks, recipe, 0, "benchmark", k))
        return blend.real, blend.fake, blend.mask

    return pair


class Peer:
    """A worker module in a process of its own, with the albumentations of a folder."""

    def __init__(self, folder: Path, module: str = "benchmarks.blend_reference") -> None:
        (version,) = folder.glob("albumentations-*.dist-info")
        self.name = version.name.removesuffix(".dist-info")
        path = os.pathsep.join([str(folder.resolve()), str(Path(__file__).parents[1])])
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path, "NO_ALBUMENTATIONS_UPDATE": "1"},
        )
        self.ask("3")

    def ask(self, question: str) -> Any:
        """What the process answers."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(question + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def speeds(recipes: dict[RecipeName, Ours], peers: list[Peer], pairs: int, rounds: int) -> dict[str, float]:
    """Median pairs per second."""
    rates: dict[str, list[float]] = {name: [] for name in (*recipes, *(peer.name for peer in peers))}
    for _ in range(rounds):
        for peer in peers:
            rates[peer.name].append(pairs / peer.ask(str(pairs)))
        for name, pair in recipes.items():
            start = time.perf_counter()
            for k in range(pairs):
                pair(k)
            rates[name].append(pairs / (time.perf_counter() - start))
    return {name: round(statistics.median(values), 1) for name, values in rates.items()}


def poisson(rounds: int) -> dict[str, dict[str, float]]:
    """Median milliseconds of one Poisson blend of a region: OpenCV's `seamlessClone` and ours."""
    crop, marks = portrait()
    found = {}
    for name in ("full face", "center face", "left eye"):
        mask = hull_mask([region_points(marks, name)], *crop.shape[:2])
        x, y, width, height = cv2.boundingRect(mask)
        box = np.s_[y : y + height, x : x + width]
        target, part = crop[box].copy(), mask[box].copy()
        source = np.asarray(cv2.GaussianBlur(target, (5, 5), 1), dtype=np.uint8)
        contenders: dict[str, Callable[[], object]] = {
            "seamlessClone": partial(clone, source, target, part),
            "mmidd": partial(poisson_blend, source, target, part),
        }
        times: dict[str, list[float]] = {contender: [] for contender in contenders}
        for _ in range(10 * rounds):
            for contender, blend in contenders.items():
                start = time.perf_counter()
                blend()
                times[contender].append(1e3 * (time.perf_counter() - start))
        found[name] = {contender: round(statistics.median(t), 2) for contender, t in times.items()}
    return found


def clone(source: Pixels, target: Pixels, mask: Any) -> object:
    """OpenCV's, with a copy of the mask, since it is written to."""
    height, width = mask.shape
    return cv2.seamlessClone(source, target, mask.copy(), (width // 2, height // 2), cv2.NORMAL_CLONE)


def profile(pair: Ours, pairs: int) -> dict[str, float]:
    """Share of the time of one pair that each step takes; `elastic` holds `displacement`."""
    profiler = cProfile.Profile()
    profiler.runcall(lambda: [pair(k) for k in range(pairs)])
    stats: Any = pstats.Stats(profiler)
    spent = {name: cumulative for (_, _, name), (_, _, _, cumulative, _) in stats.stats.items()}
    return {name: round(spent[name] / stats.total_tt, 3) for name in STEPS}


def compare(ours: list[dict[str, float]], theirs: list[dict[str, float]]) -> dict[str, Any]:
    """Means of both and the p-value that they are draws of one distribution."""
    result = {}
    for name in ours[0]:
        values = [[row[name] for row in rows] for rows in (ours, theirs)]
        means = [round(float(np.mean(v)), 4) for v in values]
        result[name] = {"means": means, "p": round(float(ks_2samp(*values).pvalue), 4)}
    return result


def memory(pair: Ours, count: int) -> dict[str, float]:
    """Peak resident memory after a hundredth, a tenth and all of `count` pairs."""
    peaks = {}
    for k in range(count):
        pair(k)
        if k + 1 in (count // 100, count // 10, count):
            peaks[str(k + 1)] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
    return peaks


if __name__ == "__main__":
    main()
