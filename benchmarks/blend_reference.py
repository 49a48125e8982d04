"""The SBI recipe as one would write it first: albumentations for what it has, floats for the rest.

Written from the description of the recipe (Shiohara and Yamasaki, CVPR 2022, and docs/simulate.md). As in
public code, the elastic step is given image and mask together and only the mask is used. It draws from
albumentations' own random state, so only distributions can be compared with mmidd's.

Run as a program it is a worker: for every line `N` on its input it makes N pairs and answers with the
seconds, for every line `N measures` with the measures of N pairs, as JSON.
"""

from __future__ import annotations

import json
import random
import sys
import time
from typing import Any

import albumentations as A
import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.blend_measures import measures, portrait
from mmidd.preprocess.blend.landmarks import FaceMarks
from mmidd.preprocess.blend.recipe import RATIOS
from mmidd.preprocess.blend.regions import HULLS, hull_points
from mmidd.preprocess.detectors.base import Pixels

Floats = NDArray[np.float64]

_NEW_OR_OLD: dict[str, dict[str, Any]] = (
    {"elastic": {"alpha_affine": 0}, "jpeg": {"quality_lower": 40, "quality_upper": 100}}
    if A.__version__.startswith("1.")
    else {"elastic": {}, "jpeg": {"quality_range": (40, 100)}}
)


def _compose(*steps: Any) -> Any:
    return A.Compose(list(steps), additional_targets={"twin": "image"})


class Reference:
    """Makes pairs of a real and its self-blended forgery."""

    def __init__(self, seed: int) -> None:
        random.seed(seed)
        np.random.seed(seed)
        self.rng = np.random.default_rng(seed)
        shift, tiny = (-20.0, 20.0), (-0.3, 0.3)
        self.change = _compose(
            A.RGBShift(shift, shift, shift, p=0.3),
            A.HueSaturationValue(tiny, tiny, tiny, p=1),
            A.RandomBrightnessContrast((-0.1, 0.1), (-0.1, 0.1), p=1),
        )
        self.sharpen = _compose(A.Sharpen(alpha=(0.2, 0.5), lightness=(0.5, 1), p=1))
        place = {"x": (-0.03, 0.03), "y": (-0.015, 0.015)}
        self.affine = _compose(A.Affine(translate_percent=place, scale=(0.95, 1 / 0.95), p=1))
        self.elastic = _compose(A.ElasticTransform(alpha=50, sigma=7, p=1, **_NEW_OR_OLD["elastic"]))
        self.final = _compose(
            A.RGBShift(shift, shift, shift, p=0.3),
            A.HueSaturationValue(tiny, tiny, tiny, p=0.3),
            A.RandomBrightnessContrast((-0.3, 0.3), (-0.3, 0.3), p=0.3),
            A.ImageCompression(p=0.5, **_NEW_OR_OLD["jpeg"]),
        )

    def pair(self, image: Pixels, marks: FaceMarks) -> tuple[Pixels, Pixels, Floats]:
        """Real, forgery, and the mask before the ratio, in [0, 1]; a mask that vanishes is drawn again."""
        while True:
            mask = self.hull(image, marks)
            source, target = self.frequency(self.change(image=image)["image"]), image
            if self.rng.random() >= 0.5:
                source, target = target, source
            placed = self.affine(image=source, mask=mask)
            source, mask = placed["image"], placed["mask"]
            mask = self.soften(self.elastic(image=source, mask=mask)["mask"])
            if np.isfinite(mask).all() and mask.max() > 0:
                break
        weight = (mask * self.rng.choice(RATIOS))[..., None]
        blended = weight * source.astype(np.float64) + (1 - weight) * target.astype(np.float64)
        fake = blended.astype(np.uint8)
        done = self.final(image=fake, twin=target)
        return done["twin"], done["image"], mask

    def hull(self, image: Pixels, marks: FaceMarks) -> Floats:
        """One of four families, as floats."""
        family = str(self.rng.choice(list(HULLS)))
        mask = np.zeros(image.shape[:2], np.uint8)
        line = cv2.LINE_AA if family == "facehull" else cv2.LINE_8
        for group in hull_points(marks, family):
            cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(group).astype(np.int32)), 255, lineType=line)
        return mask / 255

    def frequency(self, image: Pixels) -> Pixels:
        """Downscaling or sharpening."""
        if self.rng.random() >= 0.5:
            return np.asarray(self.sharpen(image=image)["image"], dtype=np.uint8)
        factor = int(self.rng.choice([2, 4]))
        height, width = image.shape[:2]
        small = cv2.resize(image, (width // factor, height // factor), interpolation=cv2.INTER_NEAREST)
        return np.asarray(cv2.resize(small, (width, height)), dtype=np.uint8)

    def soften(self, mask: Floats) -> Floats:
        """Blur, keep what is still 1, blur again, at a drawn resolution; NaN where nothing is left."""
        height, width = mask.shape
        small = cv2.resize(mask, (int(self.rng.integers(192, 257)), int(self.rng.integers(192, 257))))
        first, second = (int(self.rng.choice(np.arange(5, 26, 2))) for _ in range(2))
        blurred = cv2.GaussianBlur(small, (first, first), 0)
        core = np.where(blurred / blurred.max() < 1 - 1e-6, 0.0, 1.0)
        soft = cv2.GaussianBlur(core, (second, second), int(self.rng.integers(5, 46)))
        with np.errstate(invalid="ignore"):
            return np.asarray(cv2.resize(soft / soft.max(), (width, height)), dtype=np.float64)


def main() -> None:
    """Answer until the input ends."""
    cv2.setNumThreads(1)
    crop, marks = portrait()
    reference = Reference(0)
    for line in sys.stdin:
        count, *what = line.split()
        start = time.perf_counter()
        pairs = (reference.pair(crop, marks) for _ in range(int(count)))
        if what:
            answer: Any = [measures(*pair) for pair in pairs]
        else:
            for _ in pairs:
                pass
            answer = time.perf_counter() - start
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
