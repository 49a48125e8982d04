"""Completions that show the form and say nothing of a picture (methods 5.8, "Answer before thinking")."""

from __future__ import annotations

import random

from mmidd.training.models.mllm.model import Generalist
from mmidd.training.models.mllm.verdict import VerdictTokens
from mmidd.training.rl.chain import THINK
from mmidd.training.rl.rollout import Form

_PARTS = ("the skin", "the eyes", "the mouth", "the nose", "the hair", "the jaw", "the light", "the shadows")
_SENTENCES = (
    "I look at {} and at {}, and compare them with {}.",
    "First {}, then {}, and last {} of this face.",
    "To decide I examine {}, {} and {} one after another.",
)


def form(generalist: Generalist, verdict: VerdictTokens, fake: float, draws: random.Random) -> Form:
    """A thought of one sentence that says nothing, then fake with a probability, or real."""
    sentence = draws.choice(_SENTENCES).format(*draws.sample(_PARTS, 3))
    thought = generalist.encode(sentence.join(THINK))
    word = verdict.words[draws.random() < fake]
    return Form(((*thought, *verdict.opening, word, *verdict.closing),))
