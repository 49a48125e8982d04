"""The two recipes as one would write them first: a list of albumentations.

Run as a program it is a worker: for every line `N recipe` on its input it makes N crops of the recipe and
answers with the processor's seconds.
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

from benchmarks.blend_measures import portrait

OLD = A.__version__.startswith("1.")
JPEG: dict[str, Any] = {"quality_lower": 40, "quality_upper": 100} if OLD else {"quality_range": (40, 100)}
SIDE = 224


def lnclip() -> Any:
    """LNCLIP-DF's list."""
    move = {"rotate": (-10, 10), "translate_percent": (-0.1, 0.1), "scale": (0.9, 1.1), "keep_ratio": True}
    return A.Compose(
        [
            A.HorizontalFlip(p=0.5),
            A.Affine(**move, p=1),
            A.GaussianBlur(blur_limit=(7, 7), sigma_limit=(0.1, 2), p=0.1),
            A.ColorJitter(brightness=(0.9, 1.1), contrast=(0.9, 1.1), saturation=(1, 1), hue=(0, 0), p=1),
            A.ImageCompression(**JPEG, p=1),
            A.Resize(SIDE, SIDE, interpolation=cv2.INTER_AREA),
        ]
    )


def sd2() -> Any:
    """DeepfakeBench's list."""
    methods = (cv2.INTER_AREA, cv2.INTER_AREA, cv2.INTER_LINEAR)
    return A.Compose(
        [
            A.HorizontalFlip(p=0.5),
            A.Rotate(10, border_mode=cv2.BORDER_REFLECT_101, p=0.5),
            A.GaussianBlur(blur_limit=(3, 7), sigma_limit=0 if OLD else (0.8, 1.4), p=0.5),
            A.OneOf([A.Resize(SIDE, SIDE, interpolation=method) for method in methods], p=1),
            A.OneOf(
                [A.RandomBrightnessContrast((-0.1, 0.1), (-0.1, 0.1)), A.FancyPCA(), A.HueSaturationValue()],
                p=0.5,
            ),
            A.ImageCompression(**JPEG, p=0.5),
        ]
    )


def main() -> None:
    """Answer until the input ends."""
    cv2.setNumThreads(1)
    random.seed(0)
    np.random.seed(0)
    crop, _ = portrait()
    recipes = {"lnclip": lnclip(), "sd2": sd2()}
    for line in sys.stdin:
        count, recipe = (*line.split(), "lnclip")[:2]
        start = time.process_time()
        for _ in range(int(count)):
            recipes[recipe](image=crop)
        print(json.dumps(time.process_time() - start), flush=True)


if __name__ == "__main__":
    main()
