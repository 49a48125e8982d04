from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mmidd.demo.forge import FF_METHODS, FORGERIES, Reenact, Swap, morph, real, retouch
from mmidd.demo.warp import hull
from tests.demo.demo_world import drawn_portrait

PEOPLE = drawn_portrait("ann", 1), drawn_portrait("bob", 2)
FAKES = sorted(set(FORGERIES) - {"real"})


def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def difference(name: str, strength: float = 1.0) -> NDArray[np.float64]:
    fake = FORGERIES[name](PEOPLE, rng(), strength).image.astype(float)
    return np.asarray(np.abs(fake - PEOPLE[0].image).mean(2), np.float64)


def detail(image: NDArray[np.generic], inside: NDArray[np.bool_]) -> float:
    grey = image.astype(np.float32).mean(2)
    return float((grey - cv2.GaussianBlur(grey, (0, 0), 3))[inside].var())


def test_five_methods_of_faceforensics_are_there() -> None:
    assert list(FF_METHODS) == ["Deepfakes", "FaceSwap", "FaceShifter", "Face2Face", "NeuralTextures"]


def test_a_real_is_only_resampled() -> None:
    still = real(PEOPLE, rng(), 1.0)
    assert not still.region.any()
    assert 0 < np.abs(still.image.astype(float) - PEOPLE[0].image).mean() < 3
    assert np.array_equal(still.matte, PEOPLE[0].matte)


@pytest.mark.parametrize("name", FAKES)
def test_a_forgery_changes_the_face_and_leaves_the_surroundings(name: str) -> None:
    still = FORGERIES[name](PEOPLE, rng(), 1.0)
    forged = still.region > 0
    background = cv2.dilate(still.region, np.ones((61, 61))) == 0
    resampled = np.abs(real(PEOPLE, rng(), 1.0).image.astype(float) - PEOPLE[0].image).mean(2)
    assert 0.03 < forged.mean() < 0.5
    assert difference(name)[forged].mean() > 1.5 * resampled[forged].mean()
    assert difference(name)[background].mean() < 4 * resampled[background].mean() + 0.5
    assert np.array_equal(still.matte, PEOPLE[0].matte)


@pytest.mark.parametrize("name", FAKES)
def test_a_forgery_depends_only_on_the_generator(name: str) -> None:
    a, b = (FORGERIES[name](PEOPLE, rng(), 1.0).image for _ in range(2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, FORGERIES[name](PEOPLE, np.random.default_rng(8), 1.0).image)


@pytest.mark.parametrize("name", ["Face2Face", "NeuralTextures", "retouch", "morph"])
def test_strength_zero_only_resamples_the_target(name: str) -> None:
    face = hull(PEOPLE[0].points) > 0
    resampled = np.abs(real(PEOPLE, rng(), 1.0).image.astype(float) - PEOPLE[0].image).mean(2)
    assert difference(name, 0.0)[face].mean() < 1.3 * resampled[face].mean() + 0.3
    assert difference(name, 0.0)[face].mean() < difference(name, 1.0)[face].mean() - 2


def test_a_swap_with_oneself_without_tint_is_the_real() -> None:
    swap = Swap(forehead=0.1, match=0.5, tint=0.0, feather=9.0)
    same = swap((PEOPLE[0], PEOPLE[0]), rng(), 1.0).image.astype(float)
    assert np.abs(same - PEOPLE[0].image).mean() < 3


def test_the_tint_of_a_swap_has_the_size_asked_for() -> None:
    flat = np.full_like(PEOPLE[0].image, 128)
    person = type(PEOPLE[0])("grey", flat, PEOPLE[0].matte, PEOPLE[0].points)
    image = Swap(forehead=0.1, match=0.0, tint=12.0, feather=5.0)((person, person), rng(), 1.0).image
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(float)
    offset = lab[200:260, 170:250].mean((0, 1)) - lab[2, 2]
    assert np.linalg.norm(offset / (2, 1, 1)) == pytest.approx(12.0, abs=1.5)


def test_reenactment_moves_the_mouth_even_between_equal_expressions() -> None:
    image = np.full_like(PEOPLE[0].image, 60)
    image[hull(PEOPLE[0].points[48:68]) > 0] = 200
    person = type(PEOPLE[0])("mouth", image, PEOPLE[0].matte, PEOPLE[0].points)
    reenact = Reenact(gain=1.0, ghost=0.0, tint=0.0, feather=7.0)
    before = (image[..., 0] > 130).sum()
    for seed in range(6):
        after = (reenact([person, person], np.random.default_rng(seed), 1.0).image[..., 0] > 130).sum()
        assert abs(after / before - 1) > 0.15


def test_a_morph_is_as_sharp_as_its_parts() -> None:
    head = hull(PEOPLE[0].points) > 0
    parts = np.mean([detail(person.image, head) for person in PEOPLE])
    assert 0.6 < detail(morph(PEOPLE, rng(), 1.0).image, head) / float(parts) < 1.4


def test_some_retouches_enlarge_the_eyes_and_some_do_not() -> None:
    image = np.full_like(PEOPLE[0].image, 60)
    image[np.maximum(hull(PEOPLE[0].points[36:42]), hull(PEOPLE[0].points[42:48])) > 0] = 200
    person = type(PEOPLE[0])("eyes", image, PEOPLE[0].matte, PEOPLE[0].points)
    before = (image[..., 0] > 130).sum()
    after = [
        (retouch([person], np.random.default_rng(seed), 1.0).image[..., 0] > 130).sum() for seed in range(20)
    ]
    assert max(after) > 1.4 * before
    assert min(after) < 1.25 * before


@pytest.mark.parametrize("name", FAKES)
def test_a_forgery_is_as_sharp_as_what_it_replaces(name: str) -> None:
    still = FORGERIES[name](PEOPLE, rng(), 1.0)
    inside = cv2.erode(still.region, np.ones((41, 41))) > 0
    replaced, forged = (
        cv2.Laplacian(image.astype(np.float32), cv2.CV_32F)[inside].var()
        for image in (real(PEOPLE, rng(), 1.0).image, still.image)
    )
    assert 0.5 < forged / replaced < 1.6
