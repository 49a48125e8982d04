from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest, chisquare, kstest

from mmidd.errors import UsageError
from mmidd.training.augment import Draw, draw, sample_generator
from mmidd.training.augment.draw import PAIRS, Hsv, Light, Pca
from mmidd.training.config import apply_overrides, load_preset
from mmidd.training.ranges import Augment

COUNT = 4000
P = 1e-3  # the draws are fixed, so that a test never fails by chance


def drawn(method: str) -> list[Draw]:
    ranges = load_preset(method, "paper").augment
    return [draw(ranges, sample_generator(0, 0, 0, str(number))) for number in range(COUNT)]


@pytest.fixture(scope="module")
def lnclip() -> list[Draw]:
    return drawn("lnclip")


@pytest.fixture(scope="module")
def sd2() -> list[Draw]:
    return drawn("sd2")


def assert_share(found: int, count: int, probability: float) -> None:
    assert binomtest(found, count, probability).pvalue > P


def assert_uniform(values: Sequence[float], low: float, high: float) -> None:
    assert low <= min(values)
    assert max(values) <= high
    assert kstest(values, "uniform", (low, high - low)).pvalue > P


def assert_equally_likely(values: Sequence[object], kinds: int) -> None:
    counts = Counter(values)
    assert len(counts) == kinds
    assert chisquare(list(counts.values())).pvalue > P


def test_lnclip_draws_what_its_authors_do(lnclip: list[Draw]) -> None:
    assert_share(sum(d.flip for d in lnclip), COUNT, 0.5)
    affines = [d.affine for d in lnclip if d.affine]
    assert len(affines) == COUNT
    assert_uniform([a.degrees for a in affines], -10, 10)
    assert_uniform([a.scale for a in affines], 0.9, 1.1)
    for axis in (0, 1):
        assert_uniform([a.shift[axis] for a in affines], -0.1, 0.1)
    assert {a.border for a in affines} == {"zero"}
    blurs = [d.blur for d in lnclip if d.blur]
    assert_share(len(blurs), COUNT, 0.1)
    assert_uniform([b.sigma for b in blurs], 0.1, 2)
    assert {b.kernel for b in blurs} == {7}
    assert {d.resize for d in lnclip} == {None}
    assert_equally_likely([d.jpeg for d in lnclip], 61)


def test_jitter_multiplies_then_stretches_about_the_mean(lnclip: list[Draw]) -> None:
    lights = [d.colour for d in lnclip if isinstance(d.colour, Light)]
    assert len(lights) == COUNT
    brightness = [light.gain + light.of_mean for light in lights]
    assert_uniform(brightness, 0.9, 1.1)
    assert_uniform([light.gain / b for light, b in zip(lights, brightness, strict=True)], 0.9, 1.1)
    assert {light.offset for light in lights} == {0}


def test_sd2_draws_what_deepfakebench_does(sd2: list[Draw]) -> None:
    assert_share(sum(d.flip for d in sd2), COUNT, 0.5)
    affines = [d.affine for d in sd2 if d.affine]
    assert_share(len(affines), COUNT, 0.5)
    assert_uniform([a.degrees for a in affines], -10, 10)
    assert {(a.scale, a.shift, a.border) for a in affines} == {(1, (0, 0), "reflect")}
    blurs = [d.blur for d in sd2 if d.blur]
    assert_share(len(blurs), COUNT, 0.5)
    kernels = Counter(b.kernel for b in blurs)
    assert chisquare([kernels[side] for side in (3, 5, 7)], np.array([1, 2, 2]) / 5 * len(blurs)).pvalue > P
    assert {b.sigma for b in blurs} == {0}
    assert_equally_likely([d.resize for d in sd2], 3)
    assert {d.resize for d in sd2} == set(PAIRS)
    qualities = [d.jpeg for d in sd2 if d.jpeg]
    assert_share(len(qualities), COUNT, 0.5)
    assert_equally_likely(qualities, 61)


def test_sd2_changes_colour_in_one_of_three_ways(sd2: list[Draw]) -> None:
    colours = [d.colour for d in sd2 if d.colour]
    assert_share(len(colours), COUNT, 0.5)
    assert_equally_likely([type(colour) for colour in colours], 3)
    lights = [c for c in colours if isinstance(c, Light)]
    assert_uniform([light.gain for light in lights], 0.9, 1.1)
    assert_uniform([light.offset for light in lights], -25.5, 25.5)
    assert {light.of_mean for light in lights} == {0}
    shifts = [c.shift for c in colours if isinstance(c, Hsv)]
    for axis, limit in enumerate((20, 30, 20)):
        assert_uniform([shift[axis] for shift in shifts], -limit, limit)
    weights = np.ravel([c.weights for c in colours if isinstance(c, Pca)])
    assert kstest(weights, "norm", (0, 0.1)).pvalue > P


def test_a_draw_depends_on_seed_epoch_batch_and_sample_alone() -> None:
    ranges = Augment()
    first, again = (draw(ranges, sample_generator(0, 1, 2, "a")) for _ in range(2))
    assert first == again
    others = [(1, 1, 2, "a"), (0, 2, 2, "a"), (0, 1, 3, "a"), (0, 1, 2, "b")]
    assert all(draw(ranges, sample_generator(*other)) != first for other in others)


CHANGES: dict[str, Any] = {
    "scale": (0.5, 2.0),
    "border": "zero",
    "blur_kernel": (9, 11),
    "blur_sigma": None,
    "colours": ("hue_saturation_value",),
    "jpeg_quality": (1, 2),
}


@pytest.mark.parametrize("name", sorted(Augment.model_fields.keys() - {"by_pair"}))
def test_every_setting_has_an_effect(name: str) -> None:
    everything = load_preset("sd2", "paper").augment.model_copy(
        update={"resize_p": 0.5, "blur_sigma": (1.0, 2.0)}
    )
    changed = everything.model_copy(update={name: CHANGES.get(name, 1.0)})

    def draws(ranges: Augment) -> list[Draw]:
        return [draw(ranges, sample_generator(0, 0, 0, str(number))) for number in range(50)]

    assert draws(changed) != draws(everything)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("augment.scale=[1.1, 0.9]", "augment.scale: a range goes from low to high"),
        ("augment.jpeg_quality=[0, 100]", "augment.jpeg_quality.0: "),
        ("augment.jpeg_quality=[90, 40]", "a range goes from low to high"),
        ("augment.blur_kernel=[3, 8]", "a kernel has an odd side, not 8"),
        ("augment.blur_sigma=[0, 1]", "augment.blur_sigma.0: "),
        ("augment.colours=[]", "augment.colours: "),
        ("augment.colours=[sepia]", "augment.colours.0: "),
        ("augment.hflip_p=1.5", "augment.hflip_p: "),
        ("augment_on=gpu", "augment_on: "),
    ],
)
def test_a_bad_range_is_one_clear_line(override: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        apply_overrides(load_preset("lnclip", "tiny"), [override])
    assert "\n" not in str(caught.value)


def test_nothing_is_drawn_where_nothing_happens() -> None:
    never = Augment.model_validate({n: 0 for n in Augment.model_fields if n.endswith("_p")})
    assert draw(never, sample_generator(0, 0, 0, "a")) == Draw()
