"""The label that a written answer gives, and the regions it names."""

from __future__ import annotations

import re
from typing import Literal

from mmidd.dialogue.finding import REGIONS
from mmidd.schema import Label

_WORD = re.compile(r"[^\W\d_]+")
_LABELS = {"yes": Label.FAKE, "no": Label.REAL}
_GAP = r"[\s_-]+"
_REGION = re.compile(
    rf"\b(?:{'|'.join(_GAP.join(name.split()) for name in sorted(REGIONS, key=len, reverse=True))})\b",
    re.IGNORECASE,
)


def first_word(answer: str) -> Label | None:
    """By its first word, yes or no; None where it is another."""
    found = _WORD.search(answer)
    return _LABELS.get(found[0].lower()) if found else None


def release_rule(answer: str) -> Label | None:
    """By the keywords of the KFD release (inference.py); of those that are found, the last decides.

    They are looked for inside words, too, so that "Nose" counts as "No".
    """
    has = {word: word in answer for word in ("pristine", "not", "deepfake", "Yes", "No")}
    rules = [
        (has["pristine"], Label.REAL),
        (has["not"] and has["pristine"], Label.FAKE),
        (has["deepfake"], Label.FAKE),
        (has["not"] and has["deepfake"], Label.REAL),
        (has["Yes"], Label.FAKE),
        (has["No"], Label.REAL),
    ]
    return next((label for holds, label in reversed(rules) if holds), None)


def read_label(answer: str, rule: Literal["first_word", "release"]) -> Label | None:
    """The label of an answer by one of the two rules; None where it gives none."""
    return first_word(answer) if rule == "first_word" else release_rule(answer)


def named_regions(text: str) -> tuple[str, ...]:
    """Regions of the vocabulary that a text names, each once, in the vocabulary's order.

    Of names that begin at one place the longest counts: a nose ridge is no nose.
    """
    found = {" ".join(re.split(_GAP, match.lower())) for match in _REGION.findall(text)}
    return tuple(name for name in REGIONS if name in found)
