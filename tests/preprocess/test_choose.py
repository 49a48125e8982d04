"""The labelled face: on the mask, else on the track, else the largest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mmidd.preprocess.choose import choose_face, mask_box
from mmidd.preprocess.detectors.base import Face, box_iou


def face(x0: int, y0: int, x1: int, y1: int) -> Face:
    return Face(np.array([x0, y0, x1, y1], np.float32), 1.0)


LARGE, SMALL = face(10, 10, 110, 110), face(200, 50, 240, 90)


def mask_at(x0: int, y0: int, x1: int, y1: int, level: int = 255) -> NDArray[np.uint8]:
    mask = np.zeros((200, 300), np.uint8)
    mask[y0:y1, x0:x1] = level
    return mask


def test_largest_without_mask_or_track() -> None:
    assert choose_face([SMALL, LARGE], None, None) == (1, "largest")


def test_track_goes_on_although_another_is_larger() -> None:
    assert choose_face([LARGE, SMALL], None, face(205, 52, 244, 92)) == (1, "track")


def test_a_lost_track_falls_to_the_largest() -> None:
    assert choose_face([SMALL, LARGE], None, face(150, 150, 190, 190)) == (1, "largest")


def test_mask_overrules_size_and_track() -> None:
    assert choose_face([LARGE, SMALL], mask_at(205, 60, 235, 88), LARGE) == (1, "mask")


def test_mask_is_measured_as_a_share_of_the_box() -> None:
    spill = mask_at(200, 50, 240, 90)
    spill[10:60, 10:60] = 255  # more pixels on the large face, but a smaller share
    assert choose_face([LARGE, SMALL], spill, None) == (1, "mask")


def test_a_black_or_noisy_mask_counts_as_none() -> None:
    assert choose_face([LARGE, SMALL], mask_at(0, 0, 0, 0), None) == (0, "largest")
    assert choose_face([LARGE, SMALL], mask_at(200, 50, 240, 90, level=40), None) == (0, "largest")


def test_no_face_on_the_mask_is_no_choice() -> None:
    assert choose_face([LARGE, SMALL], mask_at(120, 120, 190, 190), LARGE) is None
    assert choose_face([face(400, 10, 450, 60)], mask_at(120, 120, 190, 190), None) is None


def test_mask_box_bounds_the_bright_pixels() -> None:
    box = mask_box(mask_at(205, 60, 235, 88))
    assert box is not None
    assert box.tolist() == [205, 60, 235, 88]
    assert mask_box(mask_at(205, 60, 235, 88, level=100)) is None


def test_overlap_of_boxes() -> None:
    a = np.array([0, 0, 10, 10], np.float32)
    assert box_iou(a, a) == 1
    assert box_iou(a, np.array([5, 0, 15, 10], np.float32)) == np.float32(50 / 150)
    assert box_iou(a, np.array([20, 20, 30, 30], np.float32)) == 0
    assert box_iou(a, np.array([4, 4, 4, 4], np.float32)) == 0
