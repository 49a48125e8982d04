"""Means and edges of blended regions over many drawings, against what the recipe must give."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mmidd.preprocess.blend.recipe import Change, Placement, RecipeName
from mmidd.preprocess.blend.render import Blend, draw_blend, moved_source, render
from tests.preprocess_blend.faces import SIDE, marks, picture

DRAWINGS = 60


def drawings(recipe: RecipeName) -> list[Blend]:
    rng = np.random.default_rng(8)
    return [draw_blend(picture(k), marks(), recipe, rng) for k in range(DRAWINGS)]


@pytest.mark.parametrize("recipe", ["sbi", "regional-alpha"])
def test_the_mean_of_an_alpha_region_moves_by_the_ratio_towards_the_source(recipe: RecipeName) -> None:
    moved = []
    for blend in drawings(recipe):
        weight = blend.mask / 255 * blend.parameters.ratio
        towards = (weight[..., None] * (moved_source(blend).astype(float) - blend.real)).sum()
        change = (blend.fake.astype(float) - blend.real).sum()
        touched = max(3 * np.count_nonzero(blend.mask), 1)
        moved.append((change - towards) / touched)
    assert -1 < np.mean(moved) < 0, "cutting to integers takes about half a level"
    assert np.abs(moved).max() < 1.5


def test_the_mean_of_a_poisson_region_stays_with_its_surroundings() -> None:
    changes, offsets = [], []
    for blend in drawings("regional-poisson"):
        core = blend.mask > 200
        changes.append(np.abs((blend.fake.astype(float) - blend.real)[core].mean(axis=0)).mean())
        offsets.append(np.abs((moved_source(blend).astype(float) - blend.real)[core].mean(axis=0)).mean())
    assert np.mean(changes) < 0.5 * np.mean(offsets), "a constant difference of colour is taken away"


@pytest.mark.parametrize(("compositor", "seam"), [("alpha", 15.0), ("poisson", 0.0)])
def test_only_alpha_leaves_a_seam(compositor: str, seam: float) -> None:
    """A flat face 30 levels brighter than its surroundings: alpha at half weight shows 15 of them."""
    flat = np.full((SIDE, SIDE, 3), 100, np.uint8)
    drawn = draw_blend(picture(), marks(), "regional-alpha", np.random.default_rng(0)).parameters
    update = {
        "regions": ("mouth",),
        "changed": "source",
        "change": Change(rgb=(30.0, 30.0, 30.0)),
        "place": Placement(scale=(1, 1), shift=(0, 0)),
        "ratio": 0.5,
        "hull": "facehull",
        "compositor": compositor,
    }
    fake = render(flat, marks(), drawn.model_copy(update=update)).fake
    assert float(fake.max()) - 100 == pytest.approx(seam, abs=1)
    assert (fake[0] == 100).all()


def test_the_edge_of_a_mask_is_as_wide_as_its_blur() -> None:
    """Kernels of both blurs and of the erosion bound how far from its core a mask can reach."""
    for blend in drawings("sbi"):
        soft, drawn = blend.mask, blend.parameters.soften
        core = (soft >= 250).astype(np.uint8)
        grown = SIDE / min(drawn.side)
        reach = int(np.ceil((drawn.blur // 2 + 2) * grown * 2)) * 2 + 1
        near = cv2.dilate(core, np.ones((reach, reach), np.uint8))
        assert not soft[near == 0].any()
        edge = np.count_nonzero((soft > 0) & (soft < 250)) / np.count_nonzero(soft)
        assert 0 < edge < 0.9
