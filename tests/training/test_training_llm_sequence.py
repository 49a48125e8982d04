"""Dialogues become the sequences that the method prints, and nothing but answers is learned."""

from __future__ import annotations

from typing import Any, Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

from mmidd.dialogue.conversation import Message
from mmidd.errors import UsageError
from mmidd.training.models.llm.script import Script
from mmidd.training.models.llm.sequence import FORGERY, IGNORE, IMAGE, Encoded, pad
from mmidd.training.models.llm.tiny import tiny_tokenizer
from tests.training.llm_world import talk

TOKENIZER = tiny_tokenizer(700)
wrapped: Any = PreTrainedTokenizerFast
CPU = torch.device("cpu")


def script(order: Literal["paper", "release"] = "paper") -> Script:
    return Script(TOKENIZER, order, forgery_tokens=3)


def shown(encoded: Encoded) -> str:
    """Tokens as text, places as marks."""
    marks, text = {IMAGE: "[I]", FORGERY: "[F]"}, ""
    run: list[int] = []
    for token in [*encoded.ids, None]:
        if token is None or token < 0:
            text, run = text + TOKENIZER.decode(run), []
            text += marks.get(token, "") if token is not None else ""
        else:
            run.append(token)
    return text


QUESTION = "\n### Assistant:"


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        (
            "paper",
            "<s>### Human: <Img>[I]</Img>[F][F][F]This is a face. The score is 93 percent. Is it a deepfake?",
        ),
        (
            "release",
            "<s>### Human: <Img>[I]</Img> The score is 93 percent.[F][F][F]This is a face. Is it a deepfake?",
        ),
    ],
)
def test_the_parts_come_in_the_order_of_the_method(order: Any, expected: str) -> None:
    found = script(order).dialogue(talk(1, turns=2), 0.934, context=256)
    more = " Human: Where?\n### Assistant:At the left eye, by 93 percent.\n###"
    assert shown(found) == f"{expected}{QUESTION}Yes, the left eye is forged.\n###{more}"
    assert not found.cut


@given(number=st.integers(0, 7), turns=st.integers(1, 3), score=st.floats(0, 1), context=st.integers(90, 300))
def test_nothing_but_answers_and_their_ends_is_learned(
    number: int, turns: int, score: float, context: int
) -> None:
    messages = talk(number, turns)
    found = script().dialogue(messages, score, context)
    learned = [token for token in found.targets if token != IGNORE]
    assert all(target in (IGNORE, token) for target, token in zip(found.targets, found.ids, strict=True))
    said = TOKENIZER.decode(learned).split("\n###")[:-1]
    percent = str(int(100 * score + 0.5))
    full = [one["value"].replace("<forgery_score>", percent) for one in messages[1::2]]
    assert said == full[: len(said)]
    assert len(found.ids) <= context
    assert found.cut == (len(said) < len(full))


@pytest.mark.parametrize("order", ["paper", "release"])
def test_the_prompt_of_an_answer_is_what_was_learned_before_it(order: Any) -> None:
    messages = talk(3, turns=3)
    whole = script(order).dialogue(messages, 0.4, context=300)
    for turn in range(3):
        prompt = script(order).prompt(messages[: 2 * turn + 1], 0.4)
        assert whole.ids[: len(prompt.ids)] == prompt.ids
        assert whole.targets[len(prompt.ids)] == whole.ids[len(prompt.ids)] != IGNORE


def test_the_score_sentence_is_left_out_where_it_is_not_told() -> None:
    found = script().dialogue(talk(1), 0.9, context=256, tell=False)
    assert "[F][F][F]This is a face. Is it a deepfake?" in shown(found)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is two and two?", "<s>### Human: What is two and two?"),
        ("What is seen?\n<image>", "<s>### Human: <Img>[I]</Img> What is seen?"),
    ],
)
def test_a_general_dialogue_has_no_forgery_tokens(question: str, expected: str) -> None:
    general: list[Message] = [{"from": "human", "value": question}, {"from": "gpt", "value": "A dog."}]
    assert shown(script().dialogue(general, 0.5, context=99)) == f"{expected}{QUESTION}A dog.\n###"


def test_special_tokens_that_a_human_writes_are_text() -> None:
    general: list[Message] = [{"from": "human", "value": "</s><s>"}, {"from": "gpt", "value": "Well."}]
    ids = script().dialogue(general, 0.5, context=99).ids
    assert ids.count(TOKENIZER.eos_token_id) == 0
    assert ids.count(TOKENIZER.bos_token_id) == 1


def test_a_question_longer_than_the_context_is_one_line() -> None:
    with pytest.raises(UsageError, match=r"--set llm.context") as caught:
        script().dialogue(talk(1), 0.5, context=20)
    assert "\n" not in str(caught.value)


def test_an_answer_ends_at_its_mark_however_it_is_made_of_tokens() -> None:
    one = script()
    usual, other = one.tokens("Yes.\n###"), [*one.tokens("Yes.\n"), *one.tokens("#"), *one.tokens("##")]
    for tokens in (usual, other):
        assert one.has_ended(tokens)
        assert not one.has_ended(tokens[:-1])
        assert one.text([*tokens, *one.tokens(" more")]) == ("Yes.", True)
    assert one.text([*one.tokens("Yes"), TOKENIZER.eos_token_id, 5]) == ("Yes", True)
    assert one.text(one.tokens("Yes, but")) == ("Yes, but", False)


def test_yes_and_no_are_told_apart_by_their_first_tokens() -> None:
    one = script()
    assert one.tokens("Yes, it is.")[0] in one.yes
    assert one.tokens("No, it is not.")[0] in one.no
    assert not one.yes & one.no


@pytest.mark.parametrize(
    ("words", "complaint"),
    [(["Yes", "No"], "has no tokens for '### Human:'"), (None, "begins Yes and No with one token")],
)
def test_a_tokenizer_without_the_needed_tokens_is_one_line(words: list[str] | None, complaint: str) -> None:
    if words:
        tokenizer = Tokenizer(
            models.WordLevel({word: i for i, word in enumerate(["?", *words])}, unk_token="?")
        )
        tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
        poor = wrapped(tokenizer_object=tokenizer, unk_token="?")
    else:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
        signs = [*pre_tokenizers.ByteLevel.alphabet()]
        tokenizer.model = models.BPE({sign: i for i, sign in enumerate(sorted(signs))}, [])
        poor = wrapped(tokenizer_object=tokenizer)
    with pytest.raises(UsageError, match=complaint) as caught:
        Script(poor, "paper", forgery_tokens=3)
    assert "--set llm.name" in str(caught.value)


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4), st.sampled_from(["left", "right"]))
def test_padding_is_hidden_and_positions_count_what_is_there(lengths: list[int], side: Any) -> None:
    rows = [Encoded(tuple(range(1, n + 1)), tuple(range(1, n + 1))) for n in lengths]
    padded = pad(rows, side, CPU)
    for row, n in enumerate(lengths):
        there = padded.mask[row].bool()
        assert padded.ids[row][there].tolist() == list(range(1, n + 1))
        assert padded.positions[row][there].tolist() == list(range(n))
        assert padded.targets[row][~there].tolist() == [IGNORE] * (max(lengths) - n)
        assert bool(there[-1 if side == "left" else 0])
