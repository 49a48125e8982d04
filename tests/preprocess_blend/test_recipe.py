"""Every drawn value against the distribution that the paper or the method notes state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Any, get_args

import numpy as np
import pytest
from scipy.stats import chisquare, kstest, uniform

from mmidd.preprocess.blend.recipe import RATIOS, RECIPES, Parameters, RecipeName
from mmidd.preprocess.blend.regions import HULLS, REGIONS, choices

DRAWS = 4000
LEAST_P = 1e-3


@pytest.fixture(scope="module", params=["sbi", "regional"])
def drawn(request: pytest.FixtureRequest) -> list[Parameters]:
    rng = np.random.default_rng(11)
    return [RECIPES[request.param](rng) for _ in range(DRAWS)]


def is_uniform(values: Any, low: float, high: float) -> None:
    assert kstest(values, uniform(low, high - low).cdf).pvalue > LEAST_P


def are_equally_likely(values: list[Any], kinds: list[Any]) -> None:
    counts = Counter(values)
    assert set(counts) <= set(kinds)
    assert chisquare([counts[kind] for kind in kinds]).pvalue > LEAST_P


def happens_with(probability: float, times: int, of: int) -> None:
    assert chisquare([times, of - times], [probability * of, (1 - probability) * of]).pvalue > LEAST_P


def some(values: list[Any]) -> np.ndarray:
    return np.array([value for value in values if value is not None])


def test_every_recipe_has_a_name_of_the_type() -> None:
    assert set(RECIPES) == set(get_args(RecipeName))


def test_the_copy_that_is_changed_and_its_change(drawn: list[Parameters]) -> None:
    are_equally_likely([d.changed for d in drawn], ["source", "target"])
    changes = [d.change for d in drawn]
    rgb = some([c.rgb for c in changes])
    happens_with(0.3, len(rgb), DRAWS)
    for channel in rgb.T:
        is_uniform(channel, -20, 20)
    for channel in some([c.hsv for c in changes]).T:
        assert len(channel) == DRAWS
        is_uniform(channel, -0.3, 0.3)
    for part in some([c.light for c in changes]).T:
        assert len(part) == DRAWS
        is_uniform(part, -0.1, 0.1)
    factors = [c.downscale for c in changes if c.downscale]
    happens_with(0.5, len(factors), DRAWS)
    are_equally_likely(factors, [2, 4])
    alpha, lightness = some([c.sharpen for c in changes]).T
    is_uniform(alpha, 0.2, 0.5)
    is_uniform(lightness, 0.5, 1)
    assert all((c.downscale is None) != (c.sharpen is None) and c.jpeg is None for c in changes)


def test_the_place(drawn: list[Parameters]) -> None:
    for axis in range(2):
        is_uniform([d.place.scale[axis] for d in drawn], 0.95, 1 / 0.95)
        limit = (0.03, 0.015)[axis]
        is_uniform([d.place.shift[axis] for d in drawn], -limit, limit)
    width, height = np.array([d.place.scale for d in drawn]).T
    assert abs(np.corrcoef(width, height)[0, 1]) < 0.06, "the axes are scaled apart"


def test_only_regional_blends_turn() -> None:
    rng = np.random.default_rng(0)
    assert {RECIPES["sbi"](rng).place.degrees for _ in range(50)} == {0}
    is_uniform([RECIPES["regional"](rng).place.degrees for _ in range(DRAWS)], -3, 3)


def test_the_softening(drawn: list[Parameters]) -> None:
    soft, odd = [d.soften for d in drawn], list(range(5, 26, 2))
    for values in ([s.erode for s in soft], [s.blur for s in soft]):
        are_equally_likely(values, odd)
    for axis in range(2):
        are_equally_likely([s.side[axis] for s in soft], list(range(192, 257)))
    are_equally_likely([s.sigma for s in soft], list(range(5, 46)))


def test_the_ratio_is_whole_in_half_of_all_cases(drawn: list[Parameters]) -> None:
    counts = Counter(d.ratio for d in drawn)
    expected = {ratio: RATIOS.count(ratio) / len(RATIOS) * DRAWS for ratio in {0.25, 0.5, 0.75, 1.0}}
    assert chisquare([counts[r] for r in expected], list(expected.values())).pvalue > LEAST_P


def test_the_final_augmentation(drawn: list[Parameters]) -> None:
    final = [d.final for d in drawn]
    ranges: dict[str, tuple[float, float]] = {"rgb": (0.3, 20), "hsv": (0.3, 0.3), "light": (0.3, 0.3)}
    for name, (probability, limit) in ranges.items():
        values = some([getattr(f, name) for f in final])
        happens_with(probability, len(values), DRAWS)
        for channel in values.T:
            is_uniform(channel, -limit, limit)
    quality = [f.jpeg for f in final if f.jpeg]
    happens_with(0.5, len(quality), DRAWS)
    are_equally_likely(quality, list(range(40, 101)))
    assert all(f.downscale is None and f.sharpen is None for f in final)


def test_the_seeds_of_the_elastic_field_spread_over_32_bits(drawn: list[Parameters]) -> None:
    is_uniform([d.field for d in drawn], 0, 2**32)


def test_hulls_are_equally_likely_and_the_forehead_stays_in_three_of_four() -> None:
    rng = np.random.default_rng(3)
    drawn = [RECIPES["sbi"](rng) for _ in range(DRAWS)]
    are_equally_likely([d.hull for d in drawn], list(HULLS))
    happens_with(0.75, sum(d.forehead for d in drawn), DRAWS)
    assert {(d.regions, d.compositor) for d in drawn} == {(("full face",), "alpha")}


def holding(name: str) -> Iterator[str]:
    """What lies inside a region, typed apart from the table."""
    if name == "center face":
        yield from ("left eye", "right eye", "nose", "nose ridge", "mouth")
    if name == "full face":
        yield from set(REGIONS) - {"full face"}


def allowed(names: tuple[str, ...]) -> bool:
    return not any(set(holding(name)) & set(names) for name in names)


def test_one_to_three_regions_of_which_none_holds_another() -> None:
    rng = np.random.default_rng(5)
    drawn = [RECIPES["regional"](rng) for _ in range(DRAWS)]
    are_equally_likely([len(d.regions) for d in drawn], [1, 2, 3])
    for count in (1, 2, 3):
        every = {frozenset(names) for names in combinations(REGIONS, count) if allowed(names)}
        assert {frozenset(names) for names in choices(count)} == every
        sets = [frozenset(d.regions) for d in drawn if len(d.regions) == count]
        are_equally_likely(sets, sorted(every, key=sorted))
    assert all(d.hull is None for d in drawn)


@pytest.mark.parametrize(
    ("recipe", "shares"),
    [("regional", (0.5, 0.5)), ("regional-alpha", (1, 0)), ("regional-poisson", (0, 1))],
)
def test_how_regions_are_blended(recipe: RecipeName, shares: tuple[float, float]) -> None:
    rng = np.random.default_rng(2)
    times = Counter(RECIPES[recipe](rng).compositor for _ in range(1000))
    assert times["alpha"] == pytest.approx(1000 * shares[0], abs=60)
    assert times["poisson"] == pytest.approx(1000 * shares[1], abs=60)


@pytest.mark.parametrize("draw", list(RECIPES.values()), ids=list(RECIPES))
def test_what_was_drawn_survives_json(draw: Callable[[np.random.Generator], Parameters]) -> None:
    rng = np.random.default_rng(1)
    for _ in range(50):
        drawn = draw(rng)
        assert Parameters.model_validate_json(drawn.model_dump_json(exclude_none=False)) == drawn
