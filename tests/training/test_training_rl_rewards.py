from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from mmidd.schema import Label
from mmidd.training.config.rewards import Rewards, Weights
from mmidd.training.rl.chain import written
from mmidd.training.rl.rewards import TERMS, score

NUMERALS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]


def chain(thought: str, label: Label = Label.FAKE) -> str:
    return f"<think>{thought}</think>\n{written(label)}"


def term(name: str, text: str, label: Label = Label.FAKE, **config: Any) -> float:
    return float(score([text], [label], Rewards(**config)).terms[name])


def test_every_term_has_a_weight_and_every_weight_a_term() -> None:
    assert list(TERMS) == list(Weights.model_fields)
    assert Rewards().weights == Weights(label=1.0, format=0.25, length=0.1, distinct=0.0, regions=0.0)


def test_the_label_is_earned_by_the_right_verdict_alone() -> None:
    assert term("label", written(Label.FAKE)) == 1
    assert term("label", written(Label.REAL)) == 0
    assert term("label", written(Label.REAL), Label.REAL) == 1
    assert term("label", "Fake") == 0
    assert term("label", written(Label.FAKE) + written(Label.REAL)) == 0


def test_the_form_needs_a_thought_of_the_least_words() -> None:
    nine, ten = " ".join(NUMERALS[:9]), " ".join(NUMERALS[:10])
    assert term("format", chain(ten)) == 1
    assert term("format", chain(ten, Label.REAL)) == 1
    assert term("format", chain(nine)) == 0
    assert term("format", chain(nine), min_words=9) == 1
    assert term("format", chain(". " * 50)) == 0
    assert term("format", chain(ten) + " Bye.") == 0


@pytest.mark.parametrize(
    ("words", "earned"),
    [(0, 0), (5, 0), (6, 0.2), (9, 0.8), (10, 1), (50, 1), (120, 1), (150, 0.75), (240, 0), (900, 0)],
)
def test_the_length_is_earned_in_the_band_and_falls_beside_it(words: int, earned: float) -> None:
    assert term("length", chain("word " * words)) == pytest.approx(earned, abs=1e-6)


@given(st.integers(1, 40), st.integers(0, 40))
def test_the_length_rises_to_the_band_and_falls_behind_it(least: int, more: int) -> None:
    most = least + more
    texts = [chain("word " * words) for words in range(2 * most + 2)]
    config = Rewards(min_words=least, max_words=most)
    earned = score(texts, [Label.REAL] * len(texts), config).terms["length"].tolist()
    assert earned[least : most + 1] == [1.0] * (more + 1)
    assert all(a <= b for a, b in pairwise(earned[: least + 1]))
    assert all(a >= b for a, b in pairwise(earned[most:]))
    assert earned[0] == earned[-1] == 0


def test_repeated_n_grams_are_counted_once() -> None:
    assert term("distinct", chain("one two three four")) == 1
    assert term("distinct", chain("one Two three one two Three")) == pytest.approx(3 / 4)
    assert term("distinct", chain("one one one one"), ngram=2) == pytest.approx(1 / 3)
    assert term("distinct", chain("one one two"), ngram=1) == pytest.approx(2 / 3)
    assert term("distinct", chain("one two")) == 0


def test_a_region_counts_where_the_thought_names_it() -> None:
    assert term("regions", chain("The Left-eye looks odd.")) == 1
    assert term("regions", chain("The nostrils look odd.")) == 0
    assert term("regions", "the nose " + chain("looks odd.")) == 0


def test_the_reward_is_the_weighted_sum_of_the_terms() -> None:
    weights = {"label": 2.0, "format": 0.5, "length": 0.25, "distinct": 0.125, "regions": 3.0}
    texts = [chain(" ".join(NUMERALS)), chain("the nose"), "nothing", chain("a b c", Label.REAL)]
    labels = [Label.FAKE, Label.REAL, Label.FAKE, Label.REAL]
    earned = score(texts, labels, Rewards(weights=Weights(**weights)))
    assert earned.rewards.dtype == torch.float32
    by_hand = [2 + 0.5 + 0.25 + 0.125, 3.0, 0.0, 2 + 0.125]
    torch.testing.assert_close(earned.rewards, torch.tensor(by_hand))
    default = score(texts, labels, Rewards())
    torch.testing.assert_close(default.rewards, torch.tensor([1.35, 0.0, 0.0, 1.0]))


@given(st.lists(st.tuples(st.text(max_size=60), st.sampled_from(Label)), min_size=1, max_size=8))
def test_terms_are_shares_whatever_was_written(rows: list[tuple[str, Label]]) -> None:
    texts = [text for text, _ in rows] + [chain(text) for text, _ in rows]
    labels = [label for _, label in rows] * 2
    for values in score(texts, labels, Rewards()).terms.values():
        assert values.shape == (len(texts),)
        assert ((values >= 0) & (values <= 1)).all()


def test_texts_without_labels_and_settings_without_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        score(["a", "b"], [Label.REAL], Rewards())
    with pytest.raises(ValidationError, match="above max_words"):
        Rewards(min_words=20, max_words=10)
    with pytest.raises(ValidationError, match=r"set weights\.label"):
        Rewards(weights=Weights(label=0, format=0, length=0))
