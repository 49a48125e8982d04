"""What is said of a forgery is true of what was drawn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mmidd.dialogue.blends import finding
from mmidd.dialogue.finding import REGIONS as NAMES
from mmidd.preprocess.blend.recipe import RECIPES, Change, Parameters, Placement
from mmidd.preprocess.blend.regions import REGIONS
from mmidd.preprocess.blend.render import Blend, draw_blend
from mmidd.schema import Label
from tests.preprocess_blend.faces import marks, picture


def drawn(**update: Any) -> Parameters:
    plain = {
        "changed": "source",
        "change": Change(downscale=2),
        "place": Placement(scale=(1, 1), shift=(0, 0)),
        "compositor": "alpha",
        "ratio": 1.0,
        "regions": ("mouth",),
    }
    return RECIPES["regional-alpha"](np.random.default_rng(0)).model_copy(update={**plain, **update})


def traces(**update: Any) -> set[str]:
    image, mask = np.zeros((100, 200, 3), np.uint8), np.zeros((100, 200), np.uint8)
    outline = np.array([[150.0, 70.0], [190.0, 70.0], [170.0, 95.0]])
    found = finding(Blend(image, image, image, mask, (outline,), drawn(**update)))
    assert [(region.name, region.place) for region in found.regions] == [("mouth", "lower right")]
    return set(found.traces)


def test_both_modules_name_the_same_regions() -> None:
    assert tuple(REGIONS) == NAMES


@pytest.mark.parametrize(
    ("changed", "change", "said"),
    [
        ("source", Change(downscale=2), "blurred"),
        ("target", Change(downscale=2), "sharpened"),
        ("source", Change(sharpen=(0.3, 0.7)), "sharpened"),
        ("target", Change(sharpen=(0.3, 0.7)), "blurred"),
    ],
)
def test_detail_is_told_relative_to_the_rest(changed: str, change: Change, said: str) -> None:
    assert traces(changed=changed, change=change) == {said, "seam"}


def test_colour_light_and_place_are_told_where_they_can_be_seen() -> None:
    strong = Change(downscale=2, rgb=(15.0, 0.0, 0.0), light=(0.0, 0.08))
    assert traces(change=strong) == {"blurred", "seam", "colour", "light"}
    assert traces(change=strong, ratio=0.25) == {"light"}, "a quarter of 15 levels is not"
    weak = Change(downscale=2, rgb=(2.0, 1.0, 0.0), light=(0.01, 0.01))
    assert traces(change=weak) == {"blurred", "seam"}
    assert "shifted" in traces(place=Placement(scale=(1, 1), shift=(0.0, 0.021)))
    assert "shifted" not in traces(place=Placement(scale=(1, 1), shift=(0.009, 0.019)))


def test_poisson_leaves_neither_colour_nor_seam() -> None:
    strong = Change(downscale=2, rgb=(15.0, 0.0, 0.0), light=(0.0, 0.08))
    assert traces(change=strong, compositor="poisson", ratio=0.25) == {"blurred"}


@pytest.mark.parametrize("seed", range(8))
def test_regions_of_real_drawings_are_found_where_their_masks_are(seed: int) -> None:
    blend = draw_blend(picture(), marks(), "regional", np.random.default_rng(seed))
    found = finding(blend)
    assert found.label is Label.FAKE
    assert tuple(region.name for region in found.regions) == blend.parameters.regions
    for region in found.regions:
        if region.name.startswith("left"):
            assert not region.place.endswith("left"), "the subject's left is on the right of the image"
        if region.name.endswith("jaw"):
            assert region.place.startswith("lower")
