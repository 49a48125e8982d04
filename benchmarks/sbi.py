"""Self-blended pairs per second of mmidd against the same recipe with scipy's elastic deformation.

    OMP_NUM_THREADS=1 python benchmarks/sbi.py --pairs 200

One thread, a 256-pixel crop of matplotlib's sample portrait, the same seeds for both. The baseline
deforms the mask as augmentation libraries do: two `scipy.ndimage.gaussian_filter` in float64 and
`map_coordinates`; all else is shared. The best of `--rounds` interleaved rounds counts.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import cv2
import numpy as np
from matplotlib import get_data_path
from scipy.ndimage import gaussian_filter, map_coordinates

from mmidd.preprocess.blend import masks, sbi
from mmidd.preprocess.blend.colour import statistics_shift
from mmidd.preprocess.blend.regions import Points, to_crop
from mmidd.preprocess.crop import crop_face
from mmidd.preprocess.decode import load_image
from mmidd.preprocess.detectors.base import Pixels, make_detector
from mmidd.preprocess.simulate import simulate_sample
from mmidd.spec import PreprocessSpec


def main() -> None:
    """Time both, then the steps of ours."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    cv2.setNumThreads(1)
    crop, points = portrait()

    def pair(k: int) -> None:
        simulate_sample(crop, points, 0, "benchmark", k)

    def scipy_pair(k: int) -> None:
        with mock.patch.object(sbi, "elastic", scipy_elastic):
            pair(k)

    contenders = {"scipy elastic": scipy_pair, "mmidd": pair}
    best = dict.fromkeys(contenders, 0.0)
    for _ in range(arguments.rounds):
        for name, contender in contenders.items():
            best[name] = max(best[name], rate(contender, arguments.pairs))
    for name, value in best.items():
        print(f"{name:16} {value:7.1f} pairs/s  {value / best['scipy elastic']:5.2f} x scipy elastic")
    for name, step in steps(crop, points).items():
        print(
            f"  {name:14} {1e3 / max(rate(step, arguments.pairs) for _ in range(arguments.rounds)):7.3f} ms"
        )


def portrait() -> tuple[Pixels, Points]:
    """The sample portrait's face crop and its 68 landmarks in crop pixels."""
    image = load_image(Path(get_data_path()) / "sample_data" / "grace_hopper.jpg")
    face = make_detector("dlib").detect(image)[0]
    crop, matrix = crop_face(image, face, PreprocessSpec())
    assert face.landmarks is not None
    return crop, to_crop(face.landmarks, matrix)


def steps(crop: Pixels, points: Points) -> dict[str, Callable[[int], object]]:
    """The steps of one pair, each alone."""
    hull = masks.hull_mask(points, "components", *crop.shape[:2])
    return {
        "hull": lambda k: masks.hull_mask(points, "components", *crop.shape[:2]),
        "colour": lambda k: statistics_shift(crop, np.random.default_rng(k)),
        "elastic": lambda k: masks.elastic(hull, np.random.default_rng(k)),
        "scipy elastic": lambda k: scipy_elastic(hull, np.random.default_rng(k)),
        "soften": lambda k: masks.soften(hull, np.random.default_rng(k)),
        "alpha blend": lambda k: sbi.alpha_blend(crop, crop, hull),
    }


def scipy_elastic(mask: masks.Mask, rng: np.random.Generator) -> masks.Mask:
    """The straightforward elastic deformation, of the same distribution as `masks.elastic`."""
    dx, dy = (
        gaussian_filter(rng.random(mask.shape) * 2 - 1, masks.ELASTIC_SIGMA) * masks.ELASTIC_ALPHA
        for _ in range(2)
    )
    y, x = np.mgrid[: mask.shape[0], : mask.shape[1]]
    return np.asarray(map_coordinates(mask, [y + dy, x + dx], order=1, mode="mirror"), dtype=np.float32)


def rate(contender: Callable[[int], object], calls: int) -> float:
    """Calls per second."""
    start = time.perf_counter()
    for k in range(calls):
        contender(k)
    return calls / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
