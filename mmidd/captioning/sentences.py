"""Measured facts as one flowing sentence about the face and one about its environment.

A caption describes; it never judges. The words that would give a verdict are in `VERDICT_WORDS`, and
no sentence may hold one of them. The bounds of the scales lie near the deciles and quartiles measured
on portrait photographs at 256 pixels, so that most words are in use.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from mmidd.captioning.measured import Facts

VERDICT_WORDS = frozenset(
    {
        "real",
        "genuine",
        "authentic",
        "authenticity",
        "inauthentic",
        "original",
        "pristine",
        "bonafide",
        "true",
    }
    | {"fake", "fakes", "faked", "false", "counterfeit", "artificial", "artificially", "unreal", "cgi"}
    | {"generated", "generative", "synthetic", "synthesized", "synthesised", "synthesis", "rendered"}
    | {"edited", "editing", "unedited", "manipulated", "manipulation", "altered", "unaltered", "modified"}
    | {"tampered", "doctored", "retouched", "photoshopped", "airbrushed", "morphed", "blended", "composited"}
    | {"swap", "swaps", "swapped", "swapping", "reenacted", "reenactment", "forged", "forgery", "forgeries"}
    | {"deepfake", "deepfakes", "deepfaked", "ai", "gan", "diffusion"}
    | {"realistic", "unrealistic", "photorealistic", "fabricated", "simulated", "phony", "bogus"}
    | {"edit", "edits", "generate", "generates", "manipulate", "manipulates", "manipulating"}
    | {"alter", "altering", "modify", "modifying", "forge", "forging", "blending", "tampering"}
)

_Scale = tuple[tuple[float, str], ...]
_ENDLESS = float("inf")
_BRIGHTNESS: _Scale = (
    (70, "very dark"),
    (115, "dimly lit"),
    (160, "evenly lit"),
    (200, "brightly lit"),
    (_ENDLESS, "very bright"),
)
_CONTRAST: _Scale = ((28, "soft"), (40, "moderate"), (_ENDLESS, "strong"))
_TONE: _Scale = ((0.1, "cool"), (0.5, "neutral"), (0.82, "warm"), (_ENDLESS, "very warm"))
_SHARPNESS: _Scale = ((20, "blurred"), (90, "slightly soft"), (250, "clear"), (_ENDLESS, "crisp"))
_TEXTURE: _Scale = ((3, "smooth"), (5, "lightly structured"), (9, "detailed"), (_ENDLESS, "busy"))
_BACKDROP: _Scale = ((70, "dark"), (135, "mid-toned"), (_ENDLESS, "light"))
_SPREAD: _Scale = ((0.45, "partly {}"), (0.8, "mostly {}"), (_ENDLESS, "{}"))
_EYES: _Scale = (
    (0.16, "closed eyes"),
    (0.22, "narrowed eyes"),
    (0.36, "open eyes"),
    (_ENDLESS, "wide open eyes"),
)
_MOUTH: _Scale = ((0.04, "a closed mouth"), (0.17, "slightly parted lips"), (_ENDLESS, "an open mouth"))
_PITCH: _Scale = ((0.44, ", the head raised"), (0.63, ""), (_ENDLESS, ", the head lowered"))
_TURNED, _FAR_TURNED, _TILTED, _SIDE, _STRONG_SIDE = 0.1, 0.2, 5.0, 12.0, 35.0

_FACE = (
    "{A} {lit} face{pose}{features}, the skin in {tone} tones with {contrast} contrast.",
    "{A} {lit} face fills the frame{pose}{features}; its tones are {tone} and its contrast is {contrast}.",
    "A close view of {a} {lit} face{pose}{features}, showing {tone} skin tones and {contrast} contrast.",
    "The picture shows {a} {lit} face{pose}{features}, with {contrast} contrast and {tone} tones.",
)
_ENVIRONMENT = (
    "The background is {colour} and {texture}, with {light} on the face, in {a} {picture} image.",
    "Behind the head lies a {texture} backdrop that is {colour}; {light} falls on the face and the image is "
    "{picture}.",
    "Around the head the scene is {texture} and {colour}, the face receives {light}, and the image looks "
    "{picture}.",
)


@dataclass(frozen=True)
class Captions:
    """One sentence each about the face and about its environment."""

    face: str
    environment: str


def describe(facts: Facts, sample_id: str) -> Captions:
    """Put facts into words; which of the equivalent wordings is used follows from the sample id."""
    choice = hashlib.sha256(sample_id.encode()).digest()
    return Captions(
        _face(facts, _FACE[choice[0] % len(_FACE)]),
        _environment(facts, _ENVIRONMENT[choice[1] % len(_ENVIRONMENT)]),
    )


def leaks(text: str) -> list[str]:
    """The verdict words in a text, lower case, in order."""
    return [word for word in re.findall(r"[a-z]+", text.lower()) if word in VERDICT_WORDS]


def _face(facts: Facts, template: str) -> str:
    lit = _word(_BRIGHTNESS, facts.brightness)
    article = _article(lit)
    return template.format(
        A=article.capitalize(),
        a=article,
        lit=lit,
        pose=_pose(facts),
        features=_features(facts),
        tone=_word(_TONE, facts.warmth),
        contrast=_word(_CONTRAST, facts.contrast),
    )


def _pose(facts: Facts) -> str:
    if facts.yaw is None or facts.roll is None or facts.pitch is None:
        return ""
    turned = ", looking straight ahead"
    if abs(facts.yaw) >= _TURNED:
        degree = "far" if abs(facts.yaw) >= _FAR_TURNED else "slightly"
        turned = f", turned {degree} to the {_side(facts.yaw)} of the picture"
    tilt = f", tilted to the {_side(facts.roll)}" if abs(facts.roll) >= _TILTED else ""
    return turned + tilt + _word(_PITCH, facts.pitch)


def _features(facts: Facts) -> str:
    if facts.eyes_open is None or facts.mouth_open is None:
        return ""
    return f", with {_word(_EYES, facts.eyes_open)} and {_word(_MOUTH, facts.mouth_open)}"


def _environment(facts: Facts, template: str) -> str:
    picture = _word(_SHARPNESS, facts.sharpness)
    return template.format(
        colour=_colour(facts),
        texture=_word(_TEXTURE, facts.background_texture),
        light=_light(facts.side_light),
        picture=picture,
        a=_article(picture),
    )


def _colour(facts: Facts) -> str:
    name = facts.background_colour
    if name not in ("black", "white"):
        name = f"{_word(_BACKDROP, facts.background_brightness)} {name}"
    return _word(_SPREAD, facts.background_uniformity).format(name)


def _light(difference: float) -> str:
    if abs(difference) < _SIDE:
        return "even light"
    strength = "strong" if abs(difference) >= _STRONG_SIDE else "some"
    return f"{strength} light from the {_side(-difference)}"


def _side(value: float) -> str:
    return "right" if value > 0 else "left"


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


def _word(scale: _Scale, value: float) -> str:
    return next(word for bound, word in scale if value < bound)
