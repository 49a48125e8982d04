from __future__ import annotations

import cv2
import numpy as np

from mmidd.demo.portraits import TILE
from mmidd.demo.warp import blend, forehead, hull, soften, warp
from tests.demo.demo_world import drawn_portrait, face_points


def test_a_warp_onto_itself_changes_nothing() -> None:
    person = drawn_portrait()
    assert np.array_equal(warp(person.image, person.points, person.points), person.image)


def test_a_warp_of_an_affine_motion_equals_opencv_inside_the_face() -> None:
    person = drawn_portrait()
    matrix = np.array([[1.04, 0.03, -6.3], [-0.02, 0.97, 9.6]])
    target = np.asarray(cv2.transform(person.points[None], matrix)[0], np.float32)
    ours = warp(person.image, person.points, target, edge=False).astype(int)
    theirs = cv2.warpAffine(person.image, matrix, TILE, flags=cv2.INTER_CUBIC).astype(int)
    inside = cv2.erode(hull(target), np.ones((5, 5))) > 0
    assert np.abs(ours - theirs)[inside].mean() < 1.0
    assert np.abs(person.image.astype(int) - theirs)[inside].mean() > 5.0


def test_every_landmark_lands_where_it_is_sent() -> None:
    source, target = face_points(), face_points(3.0, seed=4)
    for index in (8, 30, 48):
        image = np.zeros((*TILE[::-1], 1), np.uint8)
        cv2.circle(image, tuple(int(v) for v in source[index].round()), 3, 255, -1)
        rows, columns = np.nonzero(np.squeeze(warp(image, source, target)) > 127)
        assert np.linalg.norm([columns.mean() - target[index][0], rows.mean() - target[index][1]]) < 1.5


def test_the_border_of_the_tile_stays() -> None:
    person = drawn_portrait()
    moved = warp(person.image, person.points, face_points(4.0, seed=2))
    assert np.array_equal(moved[0], person.image[0])
    assert np.array_equal(moved[:, -1], person.image[:, -1])


def test_a_soft_mask_stays_inside_its_outline_and_reaches_one() -> None:
    mask = hull(face_points())
    for width in (5.0, 13.0, 25.0):
        soft = soften(mask, width)
        assert 0 <= soft.min() <= soft.max() <= 1 + 1e-6
        assert soft.max() > 0.99
        assert soft[mask == 0].max() < 0.1


def test_the_forehead_lies_above_the_brows() -> None:
    points = face_points()
    raised = forehead(points, 0.3)
    assert (raised[:, 1] < points[17:27, 1] - 20).all()
    assert np.allclose(forehead(points, 0.0), points[17:27])


def test_blend_is_the_weighted_mean() -> None:
    over, under = np.full((*TILE[::-1], 3), 200, np.uint8), np.full((*TILE[::-1], 3), 100, np.uint8)
    mixed = blend(over, under, np.full(TILE[::-1], 0.25, np.float32))
    assert (mixed == 125).all()
