"""One simulated forgery of one sample, always the same for the same seed, sample and number."""

from __future__ import annotations

import hashlib

import numpy as np

from mmidd.preprocess.blend.colour import Pixels
from mmidd.preprocess.blend.regions import Points
from mmidd.preprocess.blend.sbi import Blend, self_blend


def generator(seed: int, sample_id: str, k: int) -> np.random.Generator:
    """The random generator of the k-th forgery of a sample."""
    digest = hashlib.sha256(f"{seed}:{sample_id}:{k}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def simulate_sample(crop: Pixels, points: Points, seed: int, sample_id: str, k: int) -> Blend:
    """The k-th self-blended image of a sample; see `self_blend`."""
    return self_blend(crop, points, generator(seed, sample_id, k))
