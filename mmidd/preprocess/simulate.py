"""One simulated forgery of one sample, always the same for the same seed, sample and number."""

from __future__ import annotations

import dataclasses
import hashlib

import numpy as np

from mmidd.preprocess.blend.regions import Points
from mmidd.preprocess.blend.sbi import Blend, self_blend
from mmidd.preprocess.detectors.base import Pixels


def generator(seed: int, sample_id: str, k: int) -> np.random.Generator:
    """The random generator of the k-th forgery of a sample."""
    digest = hashlib.sha256(f"{seed}:{sample_id}:{k}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "big"))


def simulate_sample(crop: Pixels, points: Points, seed: int, sample_id: str, k: int) -> Blend:
    """The k-th self-blended image of a sample; see `self_blend`.

    Its parameters hold `seed` and `k` too, so that a row alone is enough to draw it again.
    """
    drawn = self_blend(crop, points, generator(seed, sample_id, k))
    return dataclasses.replace(drawn, parameters={"seed": seed, "k": k, **drawn.parameters})
