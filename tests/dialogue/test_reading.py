"""Regions that an answer names are those that were written into it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmidd.dialogue.conversation import converse
from mmidd.dialogue.finding import REGIONS, TRACES, Finding, Region
from mmidd.dialogue.reading import named_regions
from mmidd.dialogue.templates import KINDS, templates
from mmidd.schema import Label
from tests.dialogue.test_conversation import SPOTS

names = st.lists(st.sampled_from(REGIONS), min_size=1, max_size=len(REGIONS), unique=True)
spots = st.lists(st.sampled_from(SPOTS), min_size=len(REGIONS), max_size=len(REGIONS))
traces = st.lists(st.sampled_from(TRACES), unique=True).map(tuple)


@given(names, spots, traces, st.integers(0, 2**32))
def test_every_sentence_about_regions_is_read_back_as_these(
    names: list[str], spots: list[str], traces: tuple[str, ...], seed: int
) -> None:
    found = Finding(Label.FAKE, tuple(map(Region, names, spots)), traces)
    messages = converse(found, np.random.default_rng(seed))
    kinds = {question: kind for kind in KINDS for question in templates().turns[kind].questions}
    for asked, said in zip(messages[::2], messages[1::2], strict=True):
        if kinds.get(asked["value"]) != "natural":  # which names what was left alone
            assert set(named_regions(said["value"])) == set(names), said["value"]


@given(st.integers(0, 2**32))
def test_the_verdict_on_a_real_names_none(seed: int) -> None:
    messages = converse(Finding(Label.REAL, (), ()), np.random.default_rng(seed))
    assert named_regions(messages[1]["value"]) == ()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Yes, the nose ridge is altered.", ("nose ridge",)),
        ("The nose, then the nose ridge; the Nose again.", ("nose", "nose ridge")),
        ("right_jaw and LEFT-JAW at the lower\nleft", ("left jaw", "right jaw")),
        ("the nose\nridge", ("nose ridge",)),
        ("the nostril, both eyes and the mouthpiece", ()),
        ("the center face region and the mouth", ("mouth", "center face")),
        ("", ()),
    ],
)
def test_names_are_whole_words_and_the_longest_counts(text: str, found: tuple[str, ...]) -> None:
    assert named_regions(text) == found
