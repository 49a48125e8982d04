"""Crops show what their matrix says, and encode as the spec says."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from mmidd.errors import MediaError
from mmidd.preprocess.crop import crop_aligned, crop_box, crop_face, decode_image, encode_image, encode_mask
from mmidd.preprocess.detectors.base import Face
from mmidd.spec import PreprocessSpec
from tests.preprocess.preprocess_media import FACE_BOX, portrait

Points = NDArray[np.floating[Any]]


def mapped(matrix: Points, points: Points) -> Points:
    return np.asarray(points @ matrix[:, :2].T + matrix[:, 2])


def spot(centre: Points, height: int = 240, width: int = 320) -> NDArray[np.uint8]:
    """A smooth bright spot whose centre of mass is `centre`."""
    y, x = np.mgrid[:height, :width]
    level = 255 * np.exp(-((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / (2 * 5.0**2))
    return np.repeat(np.rint(level).astype(np.uint8)[..., None], 3, axis=2)


def centre_of_mass(image: NDArray[np.uint8]) -> Points:
    weight = image[..., 0].astype(np.float64)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    return np.array([(x * weight).sum() / weight.sum(), (y * weight).sum() / weight.sum()])


@pytest.mark.parametrize("size", [64, 100, 256])
@pytest.mark.parametrize("where", [(120.0, 90.0), (150.5, 130.25), (170.0, 100.0)])
def test_matrix_maps_source_points_to_crop_points(where: tuple[float, float], size: int) -> None:
    box = np.array([100.4, 60.2, 199.7, 151.9], np.float32)
    crop, matrix = crop_box(spot(np.array(where)), box, 1.3, size)
    assert crop.shape == (size, size, 3)
    assert centre_of_mass(crop) == pytest.approx(mapped(matrix, np.array(where)), abs=0.15)


def test_side_is_margin_times_the_longer_side_around_the_centre() -> None:
    image = np.zeros((400, 400, 3), np.uint8)
    image[100:230, 135:265] = 255
    crop, _ = crop_box(image, np.array([150, 115, 250, 215], np.float32), 1.3, 130)
    assert crop.min() == 255
    wider, _ = crop_box(image, np.array([160, 115, 240, 215], np.float32), 1.32, 132)
    assert [wider[0].max(), wider[-1].max(), wider[:, 0].max(), wider[:, -1].max()] == [0, 0, 0, 0]


@given(
    box=st.tuples(st.integers(-90, 120), st.integers(-90, 90), st.integers(2, 200)),
    shape=st.tuples(st.integers(1, 60), st.integers(1, 60)),
)
def test_beyond_the_frame_the_image_is_mirrored(box: tuple[int, int, int], shape: tuple[int, int]) -> None:
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    x, y, side = box
    crop, _ = crop_box(image, np.array([x, y, x + side, y + side], np.float32), 1.0, side)
    rows = [cv2.borderInterpolate(y + k, shape[0], cv2.BORDER_REFLECT_101) for k in range(side)]
    columns = [cv2.borderInterpolate(x + k, shape[1], cv2.BORDER_REFLECT_101) for k in range(side)]
    assert np.array_equal(crop, image[rows][:, columns])


@pytest.mark.parametrize("scale", [0.4, 1.0, 3.0])
def test_alignment_levels_a_turned_face(scale: float) -> None:
    angle = np.deg2rad(25)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    upright = np.array([(-16, -4), (16, -4), (0, 14), (-13, 32), (13, 32)])
    points = upright @ turn.T + [160, 110]
    crop, matrix = crop_aligned(spot(points[2]), points.astype(np.float32), 1.0, 100)
    expected = np.array([(34, 46), (66, 46), (50, 64), (37, 82), (63, 82)]) - 0.5
    assert mapped(matrix, points) == pytest.approx(expected, abs=1e-4)
    assert centre_of_mass(crop) == pytest.approx(expected[2], abs=0.15)


def test_alignment_margin_shrinks_the_face_around_the_centre() -> None:
    points = np.array([(130, 90), (190, 92), (160, 120), (138, 150), (180, 152)], np.float32)
    image = spot(points[2])
    _, tight = crop_aligned(image, points, 1.0, 128)
    _, wide = crop_aligned(image, points, 2.0, 128)
    middle = 63.5
    assert mapped(wide, points) - middle == pytest.approx((mapped(tight, points) - middle) / 2)


def test_a_large_face_is_averaged_down_not_sampled() -> None:
    stripes = np.zeros((1200, 1200, 3), np.uint8)
    stripes[:, ::2] = 255
    five = [(0.34, 0.46), (0.66, 0.46), (0.5, 0.64), (0.37, 0.82), (0.63, 0.82)]
    points = np.array(five, np.float32) * 1037 + 50  # not a multiple of the stripes
    crop, _ = crop_aligned(stripes, points, 1.0, 100)
    assert crop.std() < 8


def test_crop_face_follows_the_spec() -> None:
    landmarks5 = np.array([(203, 113), (245, 111), (224, 135), (208, 150), (243, 149)], np.float32)
    face = Face(FACE_BOX, 1.0, landmarks5=landmarks5)
    spec = PreprocessSpec(size=96, margin=1.5)
    plain, _ = crop_face(portrait(), face, spec)
    assert np.array_equal(plain, crop_box(portrait(), FACE_BOX, 1.5, 96)[0])
    aligned, _ = crop_face(portrait(), face, spec.model_copy(update={"align": True}))
    assert np.array_equal(aligned, crop_aligned(portrait(), landmarks5, 1.5, 96)[0])
    with pytest.raises(ValueError, match="landmarks"):
        crop_face(portrait(), Face(FACE_BOX, 1.0), spec.model_copy(update={"align": True}))


def test_lossless_encodings_return_the_same_pixels() -> None:
    crop = portrait()[60:188, 160:288]
    for encoding, magic in (("png", b"\x89PNG"), ("webp", b"RIFF")):
        data = encode_image(crop, PreprocessSpec.model_validate({"encoding": encoding}))
        assert data.startswith(magic)
        assert np.array_equal(decode_image(data), crop)


def test_jpeg_keeps_full_colour_resolution_and_its_quality() -> None:
    crop = portrait()[60:188, 160:288]
    data = encode_image(crop, PreprocessSpec(quality=95))
    assert simplejpeg.decode_jpeg_header(data)[3] == "444"
    assert len(encode_image(crop, PreprocessSpec(quality=60))) < len(data) / 2
    decoded = decode_image(data)
    assert np.abs(decoded.astype(int) - crop).mean() < 3
    assert np.abs(decoded.astype(int) - np.asarray(Image.open(BytesIO(data)))).max() <= 1


def test_jpegs_of_other_makers_are_decoded_as_shown() -> None:
    image = Image.fromarray(portrait()[:64, :96])
    exif = Image.Exif()
    exif[0x0112] = 8
    for options, kind in (({"exif": exif}, "RGB"), ({}, "CMYK"), ({}, "L")):
        out = BytesIO()
        image.convert(kind).save(out, "JPEG", quality=95, **options)
        assert decode_image(out.getvalue()).shape == ((96, 64, 3) if options else (64, 96, 3))


def test_damaged_bytes_are_a_media_error() -> None:
    data = encode_image(portrait()[:64, :64], PreprocessSpec())
    for damaged in (data[: len(data) // 2], data[:10], b"", b"\xff\xd8\xff"):
        with pytest.raises(MediaError):
            decode_image(damaged)


def test_masks_are_eight_bit_grey_png() -> None:
    mask = np.arange(0, 256, 4, dtype=np.uint8).reshape(8, 8)
    stored = Image.open(BytesIO(encode_mask(mask)))
    assert (stored.format, stored.mode) == ("PNG", "L")
    assert np.array_equal(np.asarray(stored), mask)
