from __future__ import annotations

import math
from typing import Any, Literal

import cv2
import matplotlib.colors
import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from mmidd.training.augment import Draw, apply, draw, resize, sample_generator
from mmidd.training.augment.draw import PAIRS, Affine, Blur, Hsv, Light, Pca
from mmidd.training.augment.geometry import moved_to, resampling
from mmidd.training.config import load_preset
from tests.training.augment_world import portraits

METHODS = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA}
Method = Literal["linear", "cubic", "area"]
Image = NDArray[np.uint8]


@pytest.fixture(scope="module")
def face() -> Image:
    return np.asarray(portraits(1)[0], dtype=np.uint8)


def difference(a: NDArray[np.generic], b: NDArray[np.generic]) -> NDArray[np.float64]:
    return np.abs(np.asarray(a, np.float64) - np.asarray(b, np.float64))


def test_nothing_drawn_is_the_image_itself(face: Image) -> None:
    assert apply(face, Draw(), 256) is face
    assert (apply(face, Draw(), 224) == resize(face, 224)).all()


def test_a_flip_alone_moves_pixels_and_changes_none(face: Image) -> None:
    assert (apply(face, Draw(flip=True), 256) == face[:, ::-1]).all()


@settings(max_examples=25, deadline=None)
@given(
    place=st.tuples(st.integers(50, 110), st.integers(60, 120)),
    degrees=st.floats(-30, 30),
    scale=st.floats(0.8, 1.2),
    shift=st.tuples(st.floats(-0.1, 0.1), st.floats(-0.1, 0.1)),
    flip=st.booleans(),
    size=st.sampled_from([120, 160]),
)
def test_a_spot_goes_where_the_drawing_says(
    place: tuple[int, int],
    degrees: float,
    scale: float,
    shift: tuple[float, float],
    flip: bool,
    size: int,
) -> None:
    width, height = 160, 180
    y, x = np.mgrid[:height, :width]
    spot = 200 * np.exp(-((x - place[0]) ** 2 + (y - place[1]) ** 2) / 50)
    image = np.repeat(spot[..., None], 3, axis=2).astype(np.uint8)
    moved = apply(image, Draw(flip, Affine(degrees, scale, shift, "zero"), resize=PAIRS[2]), size)
    u, v = (width - 1 - place[0] if flip else place[0]) - (width - 1) / 2, place[1] - (height - 1) / 2
    c, s = scale * math.cos(math.radians(degrees)), scale * math.sin(math.radians(degrees))
    seen = (c * u + s * v + width * (0.5 + shift[0]), -s * u + c * v + height * (0.5 + shift[1]))
    weight = moved[..., 0].astype(float)
    found = [float((np.arange(size) + 0.5) @ weight.sum(axis)) / weight.sum() for axis in (0, 1)]
    assert found == pytest.approx([seen[0] * size / width, seen[1] * size / height], abs=0.06)


def test_outside_the_image_it_is_black_or_mirrored(face: Image) -> None:
    there = {border: Draw(affine=Affine(0, 1, (0.25, 0), border)) for border in ("zero", "reflect")}
    black, mirror = (apply(face, there[border], 256) for border in ("zero", "reflect"))
    assert (black[:, :64] == 0).all()
    assert (mirror[:, :64] == face[:, 64:0:-1]).all()
    assert (black[:, 64:] == face[:, :192]).all()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("length", "size"), [(256, 224), (64, 48), (97, 33), (256, 96)])
def test_weights_of_a_line_are_opencvs(method: Method, length: int, size: int) -> None:
    line = np.random.default_rng(0).random((length, length)).astype(np.float32)
    expected = cv2.resize(line, (size, size), interpolation=METHODS[method])
    weights = resampling(method, length, size)
    assert weights @ line @ weights.T == pytest.approx(expected, abs=1e-5)
    assert weights.sum(1) == pytest.approx(1)


@pytest.mark.parametrize(("method", "size"), [("linear", 300), ("cubic", 300), ("linear", 257)])
def test_weights_of_an_enlarged_line_are_opencvs(method: Method, size: int) -> None:
    line = np.random.default_rng(0).random((256, 256)).astype(np.float32)
    weights = resampling(method, 256, size)
    expected = cv2.resize(line, (size, size), interpolation=METHODS[method])
    assert weights @ line @ weights.T == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("size", [255, 250, 224, 200, 192, 128, 100, 96, 300])
@pytest.mark.parametrize("width", [256, 270])
def test_resize_is_opencvs_area_average_or_cubic(size: int, width: int, face: Image) -> None:
    image = np.ascontiguousarray(np.pad(face, ((0, 0), (0, 14), (0, 0)), "reflect")[:, :width])
    method = cv2.INTER_CUBIC if size > 256 else cv2.INTER_AREA
    expected = cv2.resize(image, (size, size), interpolation=method)
    assert difference(resize(image, size), expected).max() <= 1


def test_light_is_its_formula(face: Image) -> None:
    lit = apply(face, Draw(colour=Light(1.2, -0.15, 7.0)), 256)
    mean = face.reshape(-1, 3).mean(0) @ (0.299, 0.587, 0.114)
    expected = np.clip(np.rint(1.2 * face - 0.15 * mean + 7), 0, 255)
    assert difference(lit, expected).max() <= 1
    assert difference(lit, expected).mean() < 1e-3


def test_pca_moves_along_the_principal_components(face: Image) -> None:
    weights = np.array([0.3, -0.2, 0.1])
    values, vectors = np.linalg.eigh(np.cov(face.reshape(-1, 3).T / 255))
    shift = 255 * vectors @ ((vectors.T @ weights) * values)
    moved = apply(face, Draw(colour=Pca((0.3, -0.2, 0.1))), 256)
    assert abs(shift).max() > 2
    assert (moved == np.clip(np.rint(face + shift), 0, 255)).all()


def test_hue_saturation_and_value_move(face: Image) -> None:
    before = matplotlib.colors.rgb_to_hsv(face / 255)
    moved = apply(face, Draw(colour=Hsv((9.0, 20.0, 10.0))), 256)
    after = matplotlib.colors.rgb_to_hsv(moved / 255)
    vivid = (before[..., 1] > 0.3) & (before[..., 1] < 0.8) & (before[..., 2] > 0.3) & (before[..., 2] < 0.9)
    turn = (after[..., 0] - before[..., 0] + 0.5) % 1 - 0.5
    assert np.median(turn[vivid]) == pytest.approx(9 / 180, abs=0.01)
    assert np.median((after - before)[vivid], axis=0)[1:] == pytest.approx([20 / 255, 10 / 255], abs=0.01)


def test_jpeg_is_the_codecs(face: Image) -> None:
    data = simplejpeg.encode_jpeg(face, quality=40, colorsubsampling="420")
    assert (apply(face, Draw(jpeg=40), 256) == simplejpeg.decode_jpeg(data)).all()


def plainly(image: NDArray[Any], drawn: Draw, size: int) -> Image:
    """The same in OpenCV's calls, one after the other."""
    side = len(image)
    if drawn.flip:
        image = np.ascontiguousarray(image[:, ::-1])
    if drawn.affine is not None:
        change = drawn.affine
        matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), change.degrees, change.scale)
        matrix[:, 2] += np.multiply(change.shift, side)
        border = cv2.BORDER_CONSTANT if change.border == "zero" else cv2.BORDER_REFLECT_101
        image = cv2.warpAffine(image, matrix, (side, side), borderMode=border)
    if drawn.blur is not None:
        image = cv2.GaussianBlur(image, (drawn.blur.kernel, drawn.blur.kernel), drawn.blur.sigma)
    if drawn.resize is not None:
        image = cv2.resize(image, (size, size), interpolation=METHODS[drawn.resize.shrink])
    image = apply(image, Draw(colour=drawn.colour), len(image))
    if drawn.jpeg is not None:
        data = simplejpeg.encode_jpeg(np.ascontiguousarray(image), drawn.jpeg, colorsubsampling="420")
        image = simplejpeg.decode_jpeg(data)
    return np.asarray(cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA), dtype=np.uint8)


@pytest.mark.parametrize("method", ["lnclip", "sd2"])
def test_whole_drawings_are_what_single_steps_give(method: str, face: Image) -> None:
    ranges = load_preset(method, "paper").augment
    draws = [draw(ranges, sample_generator(0, 0, 0, str(number))) for number in range(60)]
    single = [drawn for drawn in draws if moved_to(drawn, 256, 256, 224) == (256, 256)]
    assert len(single) >= 50
    for drawn in single:
        assert difference(apply(face, drawn, 224), plainly(face, drawn, 224)).mean() < 0.3, drawn


def test_affine_and_linear_resize_are_one_interpolation(face: Image) -> None:
    turn = Affine(7, 1.05, (0.02, 0.03), "zero")
    drawn = Draw(True, turn, resize=PAIRS[2])
    smooth = np.asarray(cv2.GaussianBlur(face, (0, 0), 3), dtype=np.uint8)
    assert moved_to(drawn, 256, 256, 224) == (224, 224)
    assert difference(apply(smooth, drawn, 224), plainly(smooth, drawn, 224)).mean() < 1


def test_the_input_is_not_changed(face: Image) -> None:
    before = face.copy()
    change = Draw(True, Affine(5, 1, (0, 0), "zero"), Blur(5, 0), PAIRS[0], Light(1.1, 0, 3), 50)
    apply(face, change, 224)
    assert (face == before).all()
