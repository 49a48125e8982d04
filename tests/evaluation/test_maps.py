"""A map against a mask: by counting, and by scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import f1_score, jaccard_score, roc_auc_score

from mmidd.evaluation.heatmap import overlay
from mmidd.evaluation.maps import BINS, histogram, histogram_auc, locate


def saturated(rng: np.random.Generator, truth: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Probabilities as a trained locator gives them: most lie close to 0 or 1."""
    odds = rng.normal(0, 4, truth.shape) + np.where(truth, 3, -3)
    return (1 / (1 + np.exp(-odds))).astype(np.float32)


@given(st.integers(0, 2**32))
def test_overlap_and_area_are_those_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.integers(0, 256, (24, 24), dtype=np.uint8)
    truth = mask.ravel() >= 0.3 * 255
    found = saturated(rng, truth.reshape(24, 24))
    called = found.ravel() >= 0.5
    located = locate(found, mask)
    assert located.share == pytest.approx(called.mean())
    assert located.iou == pytest.approx(jaccard_score(truth, called))
    assert located.dice == pytest.approx(f1_score(truth, called))
    assert located.auc == pytest.approx(roc_auc_score(truth, found.ravel()), abs=2e-3)
    assert located.forged is not None
    assert located.pristine is not None
    assert (located.forged.sum(), located.pristine.sum()) == (truth.sum(), (~truth).sum())


def test_images_share_one_curve_when_their_histograms_are_added() -> None:
    rng = np.random.default_rng(0)
    truth = rng.random((6, 900)) < 0.2
    found = saturated(rng, truth) * rng.uniform(0.2, 1, (6, 1)).astype(np.float32)
    forged, pristine = (
        sum(histogram(f[t == side]) for f, t in zip(found, truth, strict=True)) for side in (True, False)
    )
    pooled = float(histogram_auc(np.asarray(forged)[None], np.asarray(pristine)[None])[0])
    assert pooled == pytest.approx(roc_auc_score(truth.ravel(), found.ravel()), abs=1e-3)


def test_half_divides_the_bins() -> None:
    half = np.float32(0.5)
    counts = histogram(np.array([0, np.nextafter(half, np.float32(0)), half, 1], np.float32))
    assert counts[: BINS // 2].sum() == counts[BINS // 2 :].sum() == 2
    assert (counts[0], counts[-1], counts.sum()) == (1, 1, 4)


def test_the_mask_takes_the_size_of_the_map() -> None:
    mask = np.zeros((64, 64), np.uint8)
    mask[:32] = 255
    found = np.zeros((16, 16), np.float32)
    found[:8] = 0.9
    assert locate(found, mask).iou == 1
    assert locate(found[::-1], mask).iou == 0


@pytest.mark.parametrize("level", [76, 77])
def test_a_pixel_is_forged_from_three_tenths_on(level: int) -> None:
    located = locate(np.full((4, 4), 0.9, np.float32), np.full((4, 4), level, np.uint8))
    assert located.iou == (1 if level == 77 else None)
    assert located.auc is None


def test_a_real_only_has_a_share() -> None:
    found = np.zeros((4, 4), np.float32)
    found[0] = 0.5
    assert locate(found, None) == (0.25, None, None, None, None, None)


def test_the_overlay_leaves_alone_what_is_not_suspect() -> None:
    image = np.full((40, 40, 3), 100, np.uint8)
    found = np.zeros((20, 20), np.float32)
    found[5:15, 5:15] = 1
    shown = overlay(image, found)
    assert (shown.shape, shown.dtype) == (image.shape, image.dtype)
    np.testing.assert_array_equal(shown[:8], image[:8])
    inside = shown[14:26, 14:26].astype(int)
    assert (inside[..., 0] > inside[..., 2] + 30).all(), "the highest chance is red"
    assert (shown == 255).all(axis=2).any(), "and enclosed by a white line"
    assert (image == 100).all()
