"""Measured facts as one flowing sentence about the face and one about its environment.

A caption describes; it never judges. The words that would give a verdict are in `VERDICT_WORDS`, and
no sentence may hold one of them.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from mmidd.captioning.measured import Facts

VERDICT_WORDS = frozenset(
    {"real", "fake", "genuine", "authentic", "original", "pristine", "generated", "synthetic", "artificial"}
    | {"edited", "manipulated", "altered", "tampered", "doctored", "retouched", "morphed", "swapped", "swap"}
    | {"forged", "forgery", "deepfake", "ai", "gan", "diffusion"}
)

_Scale = tuple[tuple[float, str], ...]
_BRIGHTNESS: _Scale = (
    (60, "very dark"),
    (95, "dimly lit"),
    (150, "evenly lit"),
    (190, "brightly lit"),
    (1e9, "very bright"),
)
_CONTRAST: _Scale = ((25, "soft"), (50, "moderate"), (1e9, "strong"))
_SHARPNESS: _Scale = ((30, "blurred"), (120, "slightly soft"), (500, "clear"), (1e9, "crisp"))
_TEXTURE: _Scale = ((2, "plain"), (6, "lightly structured"), (14, "detailed"), (1e9, "busy"))
_BACKDROP: _Scale = ((60, "dark"), (130, "mid-toned"), (200, "light"), (1e9, "very light"))
_EYES: _Scale = ((0.15, "closed eyes"), (0.22, "narrowed eyes"), (0.34, "open eyes"), (1e9, "wide open eyes"))
_MOUTH: _Scale = ((0.04, "a closed mouth"), (0.15, "slightly parted lips"), (1e9, "an open mouth"))
_TURNED, _TILTED, _WARM, _SIDE = 0.12, 8.0, 35.0, 12.0
_LOWERED, _RAISED = 0.66, 0.42


@dataclass(frozen=True)
class Captions:
    """One sentence each about the face and about its environment."""

    face: str
    environment: str


def describe(facts: Facts, sample_id: str) -> Captions:
    """Put facts into words; which of the equivalent wordings is used follows from the sample id."""
    choice = hashlib.sha256(sample_id.encode()).digest()
    return Captions(_face(facts, choice[0]), _environment(facts, choice[1]))


def leaks(text: str) -> list[str]:
    """The verdict words in a text, in order."""
    return [word for word in re.findall(r"[a-z]+", text.lower()) if word in VERDICT_WORDS]


def _face(facts: Facts, choice: int) -> str:
    opening = ("A face", "A close view of a face", "A person's face", "A portrait of a face")[choice % 4]
    parts = [p for p in (_pose(facts), _features(facts)) if p]
    skin = "warm" if facts.warmth > _WARM else "cool" if facts.warmth < 0 else "neutral"
    tone = f"in {skin} tones with {_word(_CONTRAST, facts.contrast)} contrast"
    return f"{', '.join([f'{opening} {_word(_BRIGHTNESS, facts.brightness)}', *parts, tone])}."


def _pose(facts: Facts) -> str:
    if facts.yaw is None or facts.roll is None or facts.pitch is None:
        return ""
    side = "right" if facts.yaw > 0 else "left"
    turned = "facing the camera" if abs(facts.yaw) < _TURNED else f"turned to the {side} of the picture"
    tilt = f", tilted to the {'right' if facts.roll > 0 else 'left'}" if abs(facts.roll) > _TILTED else ""
    nod = ", lowered" if facts.pitch > _LOWERED else ", raised" if facts.pitch < _RAISED else ""
    return f"{turned}{tilt}{nod}"


def _features(facts: Facts) -> str:
    if facts.eyes_open is None or facts.mouth_open is None:
        return ""
    return f"with {_word(_EYES, facts.eyes_open)} and {_word(_MOUTH, facts.mouth_open)}"


def _environment(facts: Facts, choice: int) -> str:
    backdrop = f"{_word(_BACKDROP, facts.background_brightness)}, {_word(_TEXTURE, facts.background_texture)}"
    opening = ("The background is a", "Behind the head lies a", "The surroundings show a")[choice % 3]
    light = "even light from the front"
    if abs(facts.side_light) > _SIDE:
        light = f"light from the {'left' if facts.side_light > 0 else 'right'}"
    picture = _word(_SHARPNESS, facts.sharpness)
    return f"{opening} {backdrop} {facts.background_colour} area, with {light} and a {picture} picture."


def _word(scale: _Scale, value: float) -> str:
    return next(word for bound, word in scale if value < bound)
