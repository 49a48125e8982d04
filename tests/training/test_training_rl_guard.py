from __future__ import annotations

import json
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmidd.errors import PolicyCollapsed
from mmidd.schema import Label
from mmidd.training.config.grpo import Collapse
from mmidd.training.rl.chain import read_chain, written
from mmidd.training.rl.guard import Answers, Guard

BALANCED = [Label.REAL, Label.FAKE] * 4
CONFIG = Collapse(window=5, min_words=3)


def answers(
    verdicts: Sequence[Label | None], thought: str = "skin and hair", labels: list[Label] = BALANCED
) -> Answers:
    said = [written(verdict) if verdict else "" for verdict in verdicts]
    return Answers.of([read_chain(f"<think>{thought}</think>{text}") for text in said], labels)


ALL_FAKE = answers([Label.FAKE] * 8)
ALL_REAL = answers([Label.REAL] * 8)
ALL_RIGHT = answers([*BALANCED])
SILENT = answers([*BALANCED], thought="")


def watched(steps: list[Answers], config: Collapse = CONFIG) -> int | None:
    """At which step the guard fires."""
    guard = Guard(config)
    for number, step in enumerate(steps, 1):
        try:
            guard.watch(step)
        except PolicyCollapsed:
            return number
    return None


def test_answers_are_counted() -> None:
    texts = [
        f"<think>one two</think>{written(Label.FAKE)}",
        written(Label.REAL),
        "",
        "<think>a b c d</think>",
    ]
    found = Answers.of([read_chain(text) for text in texts], [Label.FAKE, Label.FAKE, Label.FAKE, Label.REAL])
    assert found == Answers(completions=4, fake_labels=3, verdicts=2, fake=1, well_formed=1, words=1.0)


@pytest.mark.parametrize("step", [ALL_FAKE, ALL_REAL, SILENT])
def test_a_collapsed_policy_ends_the_run_when_the_window_is_full(step: Answers) -> None:
    assert watched([step] * 4) is None
    assert watched([step] * 5) == 5
    assert watched([ALL_RIGHT] * 30 + [step] * 9) == 35


def test_what_happened_and_what_to_do_is_one_line() -> None:
    for step, said in ((ALL_FAKE, r"every verdict was Fake.*optim\.lr"), (SILENT, r"under 3 words.*format")):
        guard = Guard(Collapse(window=1, min_words=3))
        with pytest.raises(PolicyCollapsed, match=said) as caught:
            guard.watch(step)
        assert "\n" not in str(caught.value)


def test_runs_of_luck_are_no_collapse() -> None:
    """A verdict of the other class, or a step with thoughts, in every window."""
    one_other = answers([Label.REAL] + [Label.FAKE] * 7)
    assert watched(([ALL_FAKE] * 4 + [one_other]) * 20) is None
    assert watched(([SILENT] * 4 + [ALL_RIGHT]) * 20) is None
    assert watched([ALL_FAKE, ALL_REAL] * 20) is None


def test_a_biased_but_living_policy_is_left_alone() -> None:
    """Says fake of nine pictures in ten: 400 pictures all the same have a chance of 5e-19."""
    chance = random.Random(0)
    steps = [
        answers([Label.FAKE if chance.random() < 0.9 else Label.REAL for _ in range(8)]) for _ in range(1000)
    ]
    assert watched(steps, Collapse()) is None


def test_one_class_of_pictures_and_missing_verdicts_are_no_constant_answer() -> None:
    fakes = [Label.FAKE] * 8
    assert watched([answers(fakes, labels=fakes)] * 20) is None
    assert watched([answers([None] * 8)] * 20) is None
    assert watched([answers([None] * 7 + [Label.FAKE])] * 20) == 5


def test_labels_are_balanced_over_the_window_not_in_each_step() -> None:
    fakes, reals = (answers([Label.FAKE] * 8, labels=[label] * 8) for label in (Label.FAKE, Label.REAL))
    assert watched([fakes, reals] * 3) == 5


@given(
    st.lists(st.sampled_from([ALL_FAKE, ALL_REAL, ALL_RIGHT, SILENT]), max_size=30),
    st.integers(1, 4),
    st.integers(0, 30),
)
def test_a_restored_guard_goes_on_as_if_nothing_had_happened(
    steps: list[Answers], window: int, cut: int
) -> None:
    config = Collapse(window=window, min_words=2)
    whole = watched(steps, config)
    before, after = Guard(config), Guard(config)
    fired = None
    for number, step in enumerate(steps, 1):
        guard = before if number <= cut else after
        if number == cut + 1:
            after.load_state_dict(json.loads(json.dumps(before.state_dict())))
        try:
            guard.watch(step)
        except PolicyCollapsed:
            fired = number
            break
    assert fired == whole
