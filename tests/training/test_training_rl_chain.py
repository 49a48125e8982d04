from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmidd.schema import Label
from mmidd.training.rl.chain import ANSWER, THINK, read_chain, words_of, written

REAL, FAKE = "<answer>Real</answer>", "<answer>Fake</answer>"
PIECES = [*THINK, *ANSWER, "Real", "Fake", " ", "\n", "skin is smooth", "0.5", "\u200b"]


@pytest.mark.parametrize(("answer", "label"), [(REAL, Label.REAL), (FAKE, Label.FAKE)])
@pytest.mark.parametrize("gap", ["", " ", "\n\n", "\u00a0"])
def test_a_thought_and_a_verdict_are_well_formed_whatever_white_space_is_between(
    answer: str, label: Label, gap: str
) -> None:
    chain = read_chain(f"{gap}<think>{gap}It's a well-lit\nface.{gap}</think>{gap}{answer}{gap}")
    assert (chain.well_formed, chain.verdict, chain.words) == (True, label, 4)
    assert chain.thought == "It's a well-lit\nface."


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("", None),
        (FAKE, Label.FAKE),
        (f"<think></think>{FAKE}", Label.FAKE),
        (f"<think> \n\t</think>{FAKE}", Label.FAKE),
        (f"<think>\u200b</think>{FAKE}", Label.FAKE),
        (f"<think>... 123 !?</think>{FAKE}", Label.FAKE),
        (f"a face {FAKE}", Label.FAKE),
        (f"<think>a face{FAKE}", Label.FAKE),
        (f"a face</think>{FAKE}", Label.FAKE),
        (f"</think>a face<think>{FAKE}", Label.FAKE),
        (f"Well: <think>a face</think>{FAKE}", Label.FAKE),
        (f"<think>a face</think> so {FAKE}", Label.FAKE),
        (f"<think>a face</think>{FAKE} Bye.", Label.FAKE),
        (f"<think>a face</think>{FAKE}\u200b", Label.FAKE),
        (f"{FAKE}<think>a face</think>", Label.FAKE),
        (f"<think>a <think>face</think></think>{FAKE}", Label.FAKE),
        (f"<think>a <think>face</think>{FAKE}", Label.FAKE),
        (f"<think>a face</think></think>{FAKE}", Label.FAKE),
        (f"<think>a</think><think>face</think>{FAKE}", Label.FAKE),
        (f"<THINK>a face</THINK>{FAKE}", Label.FAKE),
        (f"<think >a face</think >{FAKE}", Label.FAKE),
        (f"<think>a face</think>{FAKE}{REAL}", None),
        (f"<think>a face</think>{FAKE}{FAKE}", None),
        (f"<think>a face</think><answer>{FAKE}</answer>", None),
        (f"<think>a face</think>{FAKE}</answer>", None),
        (f"<think>{REAL} at first</think>{FAKE}", None),
        (f"<think>a face {FAKE}</think>", None),
        ("<think>a face<answer></think>Fake</answer>", None),
        ("<think>a face <answer>b</think>Fake</answer>", None),
        ("<think>a face</think>Fake", None),
        ("<think>a face</think></answer>Fake<answer>", None),
        ("<think>a face</think><answer>Fake", None),
        ("<think>a face</think><answer></answer>", None),
        ("<think>a face</think><answer> Fake</answer>", None),
        ("<think>a face</think><answer>fake</answer>", None),
        ("<think>a face</think><answer>FAKE</answer>", None),
        ("<think>a face</think><answer>Fake.</answer>", None),
        ("<think>a face</think><answer>Fake Real</answer>", None),
        ("<think>a face</think><answer>\uff26\uff41\uff4b\uff45</answer>", None),
        ("<think>a face</think><answer>F\u0430ke</answer>", None),
        ("<think>a face</think><ANSWER>Fake</ANSWER>", None),
        ("&lt;think&gt;a face&lt;/think&gt;&lt;answer&gt;Fake&lt;/answer&gt;", None),
    ],
)
def test_anything_else_is_malformed_and_a_verdict_counts_where_there_is_just_one(
    text: str, verdict: Label | None
) -> None:
    chain = read_chain(text)
    assert not chain.well_formed
    assert chain.verdict is verdict


@pytest.mark.parametrize("thought", ["<b>Skin</b> < hair > eyes", "</ think> skin", "\\n <thinking> it"])
def test_a_thought_may_hold_other_marks(thought: str) -> None:
    chain = read_chain(f"<think>{thought}</think>{FAKE}")
    assert chain.well_formed
    assert chain.thought == thought


def test_the_thought_is_empty_where_there_is_not_just_one() -> None:
    assert read_chain(f"<think>skin</think><think>hair</think>{FAKE}").thought == ""
    assert read_chain("<think>skin and hair that never end").words == 0
    assert read_chain("<think>skin and hair</think> and then").words == 3


def test_words_are_runs_of_letters_in_any_script() -> None:
    assert words_of("It\u2019s Ren\u00e9e's well-lit \u043b\u0438\u0446\u043e: 12 . , _ - \u2014 eye_2") == [
        "It\u2019s",
        "Ren\u00e9e's",
        "well-lit",
        "\u043b\u0438\u0446\u043e",
        "eye",
    ]


def test_long_texts_are_read_in_linear_time() -> None:
    word = "skin "
    hostile = [
        word * 200_000,
        THINK[0] * 150_000,
        " " * 1_000_000 + FAKE,
        "'-" * 500_000,
        "</think> " * 100_000,
    ]
    start = time.process_time()
    for text in hostile:
        assert not read_chain(text).well_formed
        assert (
            read_chain(f"<think>{word}{text.replace('think>', '')}</think>{FAKE}").verdict is not Label.REAL
        )
    assert time.process_time() - start < 20


@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_what_counts_can_be_put_together_again(pieces: list[str]) -> None:
    text = "".join(pieces)
    chain = read_chain(text)
    if chain.verdict:
        assert text.count(written(chain.verdict)) == text.count(ANSWER[0]) == text.count(ANSWER[1]) == 1
    if chain.well_formed:
        assert chain.verdict
        parts = (THINK[0], chain.thought, THINK[1], written(chain.verdict))
        assert "".join("".join(parts).split()) == "".join(text.split())
    assert chain.words == len(words_of(chain.thought))


@given(st.text(max_size=200))
def test_any_text_can_be_read(text: str) -> None:
    chain = read_chain(f"<think>{text}</think>{REAL}")
    assert chain.well_formed == bool(words_of(text)) or any(tag in text for tag in (*THINK, *ANSWER))
