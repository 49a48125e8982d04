"""What a forgery must be, whatever was drawn."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmidd.errors import DataError, UsageError
from mmidd.preprocess.blend.landmarks import SCHEMES, FaceMarks, face_marks
from mmidd.preprocess.blend.masks import elastic, hull_mask, soften
from mmidd.preprocess.blend.recipe import RATIOS, RECIPES, Change, Placement, RecipeName
from mmidd.preprocess.blend.regions import HULLS, hull_points
from mmidd.preprocess.blend.render import CORE, Blend, _matrix, draw_blend, finished, render
from mmidd.preprocess.simulate import check_recipe, from_json, simulate_sample, to_json
from tests.preprocess_blend.faces import SIDE, marks, picture

seeds = st.integers(0, 2**32 - 1)


def blend(recipe: RecipeName, seed: int, image: np.ndarray | None = None) -> Blend:
    return draw_blend(picture() if image is None else image, marks(), recipe, np.random.default_rng(seed))


@settings(max_examples=60, deadline=None)
@given(seeds, st.sampled_from(["sbi", "regional-alpha"]))
def test_alpha_changes_nothing_outside_the_mask(seed: int, recipe: RecipeName) -> None:
    drawn = blend(recipe, seed)
    outside = drawn.mask == 0
    assert outside.any()
    assert np.array_equal(drawn.fake[outside], drawn.real[outside])
    assert not np.array_equal(drawn.fake, drawn.real)


@settings(max_examples=40, deadline=None)
@given(seeds)
def test_poisson_changes_nothing_outside_the_mask_s_rectangle(seed: int) -> None:
    drawn = blend("regional-poisson", seed)
    x, y, width, height = cv2.boundingRect(drawn.mask)
    outside = np.ones((SIDE, SIDE), bool)
    outside[y : y + height, x : x + width] = False
    assert outside.any()
    assert np.array_equal(drawn.fake[outside], drawn.real[outside])
    assert not np.array_equal(drawn.fake, drawn.real)


@pytest.mark.parametrize("recipe", list(RECIPES))
@pytest.mark.parametrize("seed", range(6))
def test_one_of_the_copies_is_the_real_itself(recipe: RecipeName, seed: int) -> None:
    drawn = blend(recipe, seed)
    assert (drawn.parameters.changed == "source") == np.array_equal(drawn.real, picture())
    shapes = {part.shape for part in (drawn.real, drawn.source, drawn.fake)}
    assert shapes == {(SIDE, SIDE, 3)}
    assert drawn.mask.shape == (SIDE, SIDE)
    assert drawn.mask.dtype == drawn.fake.dtype == np.uint8


@pytest.mark.parametrize("recipe", list(RECIPES))
def test_the_stored_parameters_draw_the_same_forgery_again(recipe: RecipeName) -> None:
    for k in range(5):
        first = finished(simulate_sample(picture(), marks(), recipe, 3, "abc", k))
        again = finished(render(picture(), marks(), from_json(to_json(first.parameters, 3, k))))
        for part in ("real", "source", "fake", "mask"):
            assert np.array_equal(getattr(first, part), getattr(again, part))


def test_the_same_seed_sample_and_number_give_the_same_pixels_and_others_do_not() -> None:
    first, again = (simulate_sample(picture(), marks(), "sbi", 3, "abc", 1) for _ in range(2))
    assert np.array_equal(first.fake, again.fake)
    assert np.array_equal(first.mask, again.mask)
    for other in ((4, "abc", 1), (3, "abd", 1), (3, "abc", 2)):
        assert not np.array_equal(simulate_sample(picture(), marks(), "sbi", *other).fake, first.fake)


@settings(max_examples=40, deadline=None)
@given(seeds, st.sampled_from(["regional-alpha", "regional-poisson"]))
def test_every_named_region_is_masked_and_visibly_changed(seed: int, recipe: RecipeName) -> None:
    drawn = blend(recipe, seed)
    difference = cv2.absdiff(drawn.fake, drawn.real).mean(axis=2)
    everywhere = np.zeros((SIDE, SIDE), bool)
    for corners in drawn.outlines:
        region = hull_mask([corners], SIDE, SIDE) > 0
        core = region & (drawn.mask >= CORE)
        assert core.any()
        assert difference[core].mean() >= 1
        everywhere |= region
    near = cv2.dilate(everywhere.astype(np.uint8), np.ones((51, 51), np.uint8)) > 0
    assert not drawn.mask[~near].any(), "and nothing farther than placement and warp together can move it"


def test_outlines_move_with_the_source() -> None:
    drawn = blend("regional-poisson", 1)
    place = drawn.parameters.place
    centre = np.array([(SIDE - 1) / 2] * 2)
    turn = np.deg2rad(-place.degrees)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    middle = np.array([200.0, 40.0])
    expected = rotation @ ((middle - centre) * place.scale) + centre + np.multiply(place.shift, SIDE)
    matrix = _matrix(place, SIDE, SIDE)
    assert np.allclose(matrix[:, :2] @ middle + matrix[:, 2], expected, atol=1e-5)
    spot = np.zeros((SIDE, SIDE), np.uint8)
    spot[40, 200] = 255
    moved = cv2.warpAffine(cv2.GaussianBlur(spot, (9, 9), 2), matrix, (SIDE, SIDE))
    y, x = np.unravel_index(moved.argmax(), moved.shape)
    assert np.allclose((x, y), expected, atol=1)


@pytest.mark.parametrize("family", sorted(HULLS))
def test_the_mask_is_the_moved_hull_deformed_and_softened(family: str) -> None:
    drawn = RECIPES["sbi"](np.random.default_rng(4)).model_copy(update={"hull": family})
    matrix = _matrix(drawn.place, SIDE, SIDE)
    moved = face_marks(marks().points @ matrix[:, :2].T + matrix[:, 2], "dlib68")
    hard = hull_mask(hull_points(moved, family), SIDE, SIDE, smooth=family == "facehull")
    expected = soften(elastic(hard, drawn.field), drawn.soften)
    assert np.array_equal(render(picture(), marks(), drawn).mask, expected)


def test_no_change_and_no_move_leave_the_picture_as_it_was() -> None:
    drawn = RECIPES["sbi"](np.random.default_rng(0))
    still = drawn.model_copy(
        update={"change": Change(), "place": Placement(scale=(1, 1), shift=(0, 0)), "ratio": 1.0}
    )
    result = render(picture(), marks(), still)
    assert np.abs(result.fake.astype(int) - picture()).max() <= 1


@pytest.mark.parametrize("seed", range(20))
def test_nothing_black_is_blended_in_at_the_border(seed: int) -> None:
    """Source and target of a flat picture are flat, so the forgery lies between the two."""
    wide = FaceMarks((marks().points - 128) * 1.6 + 128, np.zeros((0, 2)))
    flat = np.full((SIDE, SIDE, 3), 200, np.uint8)
    drawn = draw_blend(flat, wide, "sbi", np.random.default_rng(seed))
    low, high = np.minimum(drawn.source, drawn.real).min(), np.maximum(drawn.source, drawn.real).max()
    assert drawn.source.std(axis=(0, 1)).max() == 0
    assert low - 1 <= drawn.fake.min() <= drawn.fake.max() <= high


def test_forgery_and_twin_get_the_same_final_augmentation() -> None:
    final = Change(rgb=(10.0, -5.0, 3.0), light=(0.2, 0.1), jpeg=60)
    drawn = blend("sbi", 1)
    parameters = drawn.parameters.model_copy(update={"final": final})
    done = finished(Blend(drawn.real, drawn.source, drawn.real, drawn.mask, (), parameters))
    assert np.array_equal(done.real, done.fake)
    assert not np.array_equal(done.real, drawn.real)
    assert np.array_equal(done.mask, drawn.mask)


@pytest.mark.parametrize("scheme", list(SCHEMES))
def test_every_landmark_scheme_can_be_blended(scheme: str) -> None:
    known = SCHEMES[scheme]
    points = np.full((known.count, 2), 128.0)
    points[list(known.indices)] = marks().points
    points[list(known.forehead)] = np.column_stack(
        [np.linspace(70, 186, len(known.forehead)), np.full(len(known.forehead), 40.0)]
    )
    for recipe in RECIPES:
        drawn = draw_blend(picture(), face_marks(points, scheme), recipe, np.random.default_rng(2))
        assert drawn.mask.any()


def test_without_the_forehead_the_face_ends_at_the_brows() -> None:
    forehead = np.column_stack([np.linspace(70, 186, 13), np.full(13, 30.0)])
    face, drawn = FaceMarks(marks().points, forehead), RECIPES["sbi"](np.random.default_rng(0))
    tops = {}
    for keep in (True, False):
        update = {"hull": "facehull", "forehead": keep}
        tops[keep] = cv2.boundingRect(render(picture(), face, drawn.model_copy(update=update)).mask)[1]
    assert tops[True] + 20 < tops[False]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (np.full((68, 2), 50.0), "degenerate_hull"),
        (np.full((68, 2), 50.0) + np.arange(68)[:, None] % 9, "empty_mask|degenerate_hull"),
    ],
)
def test_landmarks_without_a_hull_are_counted_failures(bad: np.ndarray, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        draw_blend(picture(), face_marks(bad, "dlib68"), "sbi", np.random.default_rng(0))


def test_regions_too_small_and_changes_nobody_sees_are_counted_failures() -> None:
    tiny = FaceMarks((marks().points - 128) * 0.1 + 128, np.zeros((0, 2)))
    with pytest.raises(DataError, match="region_too_small"):
        draw_blend(picture(), tiny, "regional", np.random.default_rng(0))
    flat = np.full((SIDE, SIDE, 3), 120, np.uint8)
    with pytest.raises(DataError, match="invisible"):
        draw_blend(flat, marks(), "regional-poisson", np.random.default_rng(0))


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"seed": 1}'])
def test_stored_parameters_that_cannot_be_read_are_counted(text: str) -> None:
    with pytest.raises(DataError, match="parameters"):
        from_json(text)


def test_an_unknown_recipe_names_the_known_ones() -> None:
    assert check_recipe("regional-alpha") == "regional-alpha"
    with pytest.raises(UsageError, match="sbi, regional"):
        check_recipe("sbj")


def test_ratios_weigh_the_source() -> None:
    drawn = blend("sbi", 4).parameters
    changes = []
    for ratio in sorted(set(RATIOS)):
        result = render(picture(), marks(), drawn.model_copy(update={"ratio": ratio}))
        changes.append(cv2.absdiff(result.fake, result.real).mean())
    assert changes == sorted(changes)
    assert changes[-1] == pytest.approx(4 * changes[0], rel=0.25)
