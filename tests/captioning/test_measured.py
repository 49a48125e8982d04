"""The measured backend: facts follow the picture, sentences follow the facts and never judge."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmidd.captioning.measured import Facts, colour_name, measure
from mmidd.captioning.sentences import describe, leaks


def points() -> np.ndarray:
    """A frontal, symmetric face of 68 landmarks in a 256 px crop."""
    p = np.zeros((68, 2))
    angle = np.linspace(np.pi, 0, 17)
    p[:17] = np.column_stack([128 + 90 * np.cos(angle), 110 + 110 * np.sin(angle)])
    p[17:27] = np.column_stack([np.linspace(60, 196, 10), np.full(10, 75)])
    p[27:31] = np.column_stack([np.full(4, 128), np.linspace(95, 140, 4)])
    p[31:36] = np.column_stack([np.linspace(112, 144, 5), np.full(5, 150)])
    for start, x in ((36, 90), (42, 166)):
        turn = np.linspace(np.pi, -np.pi, 7)[:6]
        p[start : start + 6] = np.column_stack([x + 16 * np.cos(turn), 98 - 5 * np.sin(turn)])
    turn = np.linspace(np.pi, -np.pi, 13)[:12]
    p[48:60] = np.column_stack([128 + 32 * np.cos(turn), 185 - 12 * np.sin(turn)])
    turn = np.linspace(np.pi, -np.pi, 9)[:8]
    p[60:68] = np.column_stack([128 + 24 * np.cos(turn), 185 - 1 * np.sin(turn)])
    return p


def grey(value: int = 128) -> np.ndarray:
    return np.full((256, 256, 3), value, np.uint8)


def test_a_symmetric_face_looks_at_the_camera() -> None:
    facts = measure(grey(), points())
    assert facts.yaw == pytest.approx(0, abs=0.02)
    assert facts.roll == pytest.approx(0, abs=0.5)
    assert "facing the camera" in describe(facts, "a").face


@pytest.mark.parametrize(("shift", "side"), [(25, "right"), (-25, "left")])
def test_the_nose_tells_the_turn(shift: int, side: str) -> None:
    moved = points()
    moved[27:36, 0] += shift
    facts = measure(grey(), moved)
    assert facts.yaw is not None
    assert np.sign(facts.yaw) == np.sign(shift)
    assert f"turned to the {side}" in describe(facts, "a").face


@pytest.mark.parametrize("degrees", [-20, 15])
def test_roll_is_the_angle_of_the_eyes(degrees: float) -> None:
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    facts = measure(grey(), (points() - 128) @ turn.T + 128)
    assert facts.roll == pytest.approx(degrees, abs=0.5)
    assert facts.yaw == pytest.approx(0, abs=0.02)


def test_an_open_mouth_and_closed_eyes_are_seen() -> None:
    moved = points()
    moved[[61, 62, 63], 1] -= 12
    moved[[65, 66, 67], 1] += 12
    moved[[37, 38, 43, 44], 1] = moved[[41, 40, 47, 46], 1]
    text = describe(measure(grey(), moved), "a").face
    assert "an open mouth" in text
    assert "closed eyes" in text


def test_light_and_colour_are_measured_in_the_right_region() -> None:
    image = grey(40)
    image[:, :128] = 200
    facts = measure(image, points())
    assert facts.side_light > 100
    assert "light from the left" in describe(facts, "a").environment
    warm = grey()
    warm[..., 0], warm[..., 2] = 200, 90
    assert measure(warm, None).warmth == pytest.approx(110)
    assert measure(grey(220), None).brightness > measure(grey(90), None).brightness


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((250, 250, 250), "white"),
        ((5, 5, 5), "black"),
        ((120, 120, 120), "grey"),
        ((20, 40, 200), "blue"),
        ((30, 160, 40), "green"),
        ((200, 20, 20), "red"),
        ((110, 70, 30), "brown"),
    ],
)
def test_colours_have_their_names(rgb: tuple[int, int, int], name: str) -> None:
    assert colour_name(np.full((10, 3), rgb, np.uint8)) == name


def test_without_landmarks_nothing_is_said_of_the_pose() -> None:
    facts = measure(grey(), None)
    assert facts.yaw is None
    assert "facing" not in describe(facts, "a").face


def test_the_same_sample_gets_the_same_words_and_samples_vary() -> None:
    facts = measure(grey(), points())
    assert describe(facts, "a") == describe(facts, "a")
    assert len({describe(facts, str(n)) for n in range(40)}) > 4


def test_leaks_finds_whole_words_only() -> None:
    assert leaks("A Fake, really: the swap") == ["fake", "swap"]


_number = st.floats(-500, 500)
_maybe = st.none() | st.floats(-3, 3)


@settings(max_examples=60, deadline=None)
@given(
    st.builds(
        Facts,
        brightness=_number,
        contrast=_number,
        warmth=_number,
        side_light=_number,
        sharpness=_number,
        yaw=_maybe,
        pitch=_maybe,
        roll=_maybe,
        mouth_open=_maybe,
        eyes_open=_maybe,
        background_brightness=_number,
        background_texture=_number,
        background_colour=st.sampled_from(["grey", "violet"]),
    ),
    st.text(min_size=1, max_size=8),
)
def test_no_caption_judges_and_all_fit_clip(facts: Facts, sample_id: str) -> None:
    from open_clip import get_tokenizer

    captions = describe(facts, sample_id)
    tokens = get_tokenizer("ViT-B-32")([captions.face, captions.environment])
    assert (tokens[:, -1] == 0).all(), "a caption fills all 77 tokens"
    assert leaks(f"{captions.face} {captions.environment}") == []
