"""Hulls and named regions are where their names say, on both sides alike."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from mmidd.preprocess.blend.landmarks import MIRROR, SCHEMES, FaceMarks, face_marks
from mmidd.preprocess.blend.regions import HULLS, REGIONS, hull_points, region_points
from tests.preprocess_blend.faces import marks


def test_the_hulls_are_those_of_sbi() -> None:
    """The landmark numbers of the public mask helper, typed again apart from the table."""
    jaw_mouth = {*range(17), *range(48, 68)}
    brows = {17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 0, 27, 16, 33}
    dfl = [jaw_mouth, {27, 28, 29, 30, 33}, brows]
    components = [
        {0, 1, 2, 3, 4, 5, 6, 7, 8, 17},
        {8, 9, 10, 11, 12, 13, 14, 15, 16, 26},
        {17, 18, 19, 8},
        {24, 25, 26, 8},
        {19, 20, 21, 22, 23, 24, 8},
        {17, 18, 19, 20, 21, 27, 31, 32, 33, 34, 35, 8},
        {22, 23, 24, 25, 26, 27, 31, 32, 33, 34, 35, 8},
        {27, 28, 29, 30, 31, 32, 33, 34, 35},
    ]
    expected = {"dfl_full": dfl, "extended": dfl, "components": components, "facehull": [set(range(68))]}
    assert {name: [set(g) for g in groups] for name, (groups, _) in HULLS.items()} == expected


def test_raised_brows_go_up_by_half_the_way_to_the_eye() -> None:
    before = marks().points
    after = HULLS["extended"][1](before)
    assert after[19, 1] == pytest.approx(before[19, 1] - (before[37, 1] - before[19, 1]) / 2)
    assert (after[17:27, 1] < before[17:27, 1]).all()
    assert np.array_equal(after[27:], before[27:])


@pytest.mark.parametrize("family", sorted(HULLS))
def test_a_mirrored_face_gets_the_mirrored_hulls(family: str) -> None:
    groups, move = HULLS[family]
    assert {frozenset(MIRROR[i] for i in group) for group in groups} == {frozenset(g) for g in groups}
    landmarks = marks(jitter=3).points
    flipped = landmarks[list(MIRROR)] * (-1, 1)
    assert np.allclose(move(flipped), move(landmarks)[list(MIRROR)] * (-1, 1))


def test_left_and_right_regions_are_mirror_images() -> None:
    for name, group in REGIONS.items():
        other = {"left": "right", "right": "left"}
        counterpart = " ".join(other.get(word, word) for word in name.split())
        assert {MIRROR[i] for i in group} == set(REGIONS[counterpart]), name


def test_regions_lie_where_their_names_say() -> None:
    face = marks()
    middle = {name: region_points(face, name).mean(axis=0) for name in REGIONS}
    for part in ("eye", "jaw", "cheek"):
        assert middle[f"right {part}"][0] < 128 < middle[f"left {part}"][0], "right is image left"
    above = ["left eye", "nose ridge", "nose", "mouth", "left jaw"]
    assert all(middle[a][1] < middle[b][1] for a, b in pairwise(above))
    assert middle["left eye"][1] < middle["left cheek"][1] < middle["left jaw"][1]
    assert abs(middle["mouth"][0] - 128) < 1


def test_the_forehead_belongs_to_the_full_face_and_to_the_face_hull() -> None:
    plain, forehead = marks(), np.array([[100.0, 20.0], [150.0, 20.0]])
    face = FaceMarks(plain.points, forehead)
    for corners in (region_points(face, "full face"), hull_points(face, "facehull")[0]):
        assert corners[:, 1].min() == 20
    for family in ("dfl_full", "extended", "components"):
        assert min(group[:, 1].min() for group in hull_points(face, family)) > 20
    assert region_points(face, "center face")[:, 1].min() > 20


def test_all_schemes_give_the_same_hulls_of_the_same_face() -> None:
    face = marks()
    for name, scheme in SCHEMES.items():
        spread = np.full((scheme.count, 2), 100.0)
        spread[list(scheme.indices)] = face.points
        read = face_marks(spread, name)
        for family in HULLS:
            for ours, theirs in zip(hull_points(face, family), hull_points(read, family), strict=True):
                assert np.array_equal(ours, theirs[: len(ours)])
