"""Portraits for the augmentation tests."""

from __future__ import annotations

from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from mmidd.preprocess.decode import load_image

PORTRAITS = Path(__file__).resolve().parents[2] / "../shared/data/portraits/congress118"


def portraits(count: int, side: int = 256) -> NDArray[np.uint8]:
    """Crops (count, side, side, 3) of matplotlib's sample portrait."""
    image = load_image(Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg")
    corners = [(10 * k, 20 * k, 400 - 15 * k) for k in range(count)]
    return np.stack([scaled(image[y : y + n, x : x + n], side) for y, x, n in corners])


def scaled(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    resized = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
    return np.asarray(resized, dtype=np.uint8)
