"""The measured backend: facts follow the picture, sentences follow the facts and never judge."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmidd.captioning.measured import COLOURS, Facts, dominant_colour, measure
from mmidd.captioning.sentences import VERDICT_WORDS, Captions, describe, leaks
from mmidd.errors import DataError


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
    assert "looking straight ahead" in describe(facts, "a").face


@pytest.mark.parametrize(("shift", "side"), [(25, "right"), (-25, "left")])
def test_the_nose_tells_the_turn(shift: int, side: str) -> None:
    moved = points()
    moved[27:36, 0] += shift
    facts = measure(grey(), moved)
    assert facts.yaw is not None
    assert np.sign(facts.yaw) == np.sign(shift)
    assert f"to the {side} of the picture" in describe(facts, "a").face


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
    assert measure(warm, None).warmth == pytest.approx(np.log2(201 / 91), abs=1e-4)
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
        ((225, 190, 160), "beige"),
        ((230, 210, 30), "yellow"),
        ((255, 0, 6), "red"),
        ((230, 40, 110), "pink"),
    ],
)
def test_colours_have_their_names(rgb: tuple[int, int, int], name: str) -> None:
    assert dominant_colour(np.full((10, 3), rgb, np.uint8)) == (name, 1.0)


def test_the_dominant_colour_is_the_most_frequent_not_the_mean() -> None:
    pixels = np.array([[20, 40, 200]] * 6 + [[200, 20, 20]] * 4, np.uint8)
    assert dominant_colour(pixels) == ("blue", 0.6)


def test_the_background_is_the_border_without_head_and_forehead() -> None:
    image = grey()
    image[:] = (20, 40, 220)
    image[2:, 62:194] = (210, 140, 110)
    facts = measure(image, points())
    assert facts.background_colour == "blue"
    assert facts.background_uniformity == pytest.approx(1, abs=0.02)
    noise = np.random.default_rng(0).integers(0, 256, image.shape, dtype=np.uint8)
    assert measure(noise, points()).background_texture > 5 * facts.background_texture


def test_the_pitch_grows_when_the_nose_sinks() -> None:
    lowered, raised = points(), points()
    lowered[30, 1] += 15
    raised[30, 1] -= 15
    pitches = [measure(grey(), p).pitch for p in (raised, points(), lowered)]
    assert pitches == sorted(pitches)  # type: ignore[type-var]
    assert "the head lowered" in describe(measure(grey(), lowered), "a").face


@pytest.mark.parametrize("bad", [np.full((68, 2), 50.0), np.full((68, 2), np.nan), points() + 4000])
def test_landmarks_that_enclose_nothing_are_a_counted_failure(bad: np.ndarray) -> None:
    with pytest.raises(DataError, match="degenerate_hull"):
        measure(grey(), bad)


def test_without_landmarks_nothing_is_said_of_the_pose() -> None:
    facts = measure(grey(), None)
    assert facts.yaw is None
    for word in ("ahead", "turned", "eyes", "mouth"):
        assert word not in describe(facts, "a").face


def test_the_same_sample_gets_the_same_words_and_samples_vary() -> None:
    facts = measure(grey(), points())
    assert describe(facts, "a") == describe(facts, "a")
    assert len({describe(facts, str(n)) for n in range(40)}) > 4


def test_leaks_finds_whole_words_only() -> None:
    assert leaks("A Fake, really: the swap") == ["fake", "swap"]


@pytest.mark.parametrize(
    "text", ["AI-generated", "a photorealistic face", "someone edits it", "the FACE-SWAP"]
)
def test_leaks_finds_compounds_and_inflections(text: str) -> None:
    assert leaks(text) != []


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
        background_colour=st.sampled_from(COLOURS),
        background_uniformity=st.floats(0, 1),
    ),
    st.text(min_size=1, max_size=8),
)
def test_no_caption_judges_or_runs_long(facts: Facts, sample_id: str) -> None:
    captions = describe(facts, sample_id)
    for text in (captions.face, captions.environment):
        assert leaks(text) == []
        assert len(text.split()) < 50
        assert text[0].isupper()
        assert text.endswith(".")
        assert "{" not in text


def longest() -> list[Captions]:
    """Every wording with the longest words of each scale."""
    facts = Facts(
        brightness=130,
        contrast=35,
        warmth=0.9,
        side_light=-50,
        sharpness=60,
        yaw=0.15,
        pitch=0.7,
        roll=9,
        mouth_open=0.1,
        eyes_open=0.5,
        background_brightness=100,
        background_texture=4,
        background_colour="orange",
        background_uniformity=0.6,
    )
    return sorted({describe(facts, str(n)) for n in range(200)}, key=str)


def test_every_wording_fits_clip() -> None:
    from open_clip import get_tokenizer

    wordings = longest()
    assert len(wordings) == 12
    tokens = get_tokenizer("ViT-B-32")([text for c in wordings for text in (c.face, c.environment)])
    assert (tokens[:, -1] == 0).all(), "a caption fills all 77 tokens"


def test_the_leak_check_knows_the_verdicts_and_a_caption_with_one_is_caught() -> None:
    assert {"real", "fake", "generated", "edited", "manipulated", "synthetic", "deepfake"} <= VERDICT_WORDS
    assert leaks(longest()[0].face.replace("face", "deepfake")) != []
