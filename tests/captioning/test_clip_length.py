from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from open_clip.tokenizer import SimpleTokenizer

from mmidd.captioning.clip_length import clip_length

REFERENCE = SimpleTokenizer()
WORDS = [
    "A",
    "woman's",
    "30-year-old",
    "FACE,",
    "softly-lit;",
    "hair:",
    "brown",
    "(short)",
    "antidisestablishmentarianism",
    "1984",
    "zqxjkv",
]


@pytest.mark.parametrize(
    "text", ["A face.", "It's 20 degrees; he'd smile, 'twas 3.5%!", "café naïve", *WORDS]
)
def test_the_length_is_open_clips(text: str) -> None:
    assert clip_length(text) == len(REFERENCE.encode(text)) + 2


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(WORDS) | st.text("abcdefghijklmnopqrstuvwxyz,.'-()", min_size=1, max_size=12))
)
def test_the_length_of_any_plain_sentence_is_open_clips(words: list[str]) -> None:
    text = " ".join(words)
    assert clip_length(text) == len(REFERENCE.encode(text)) + 2
