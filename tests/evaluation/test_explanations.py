"""Statistics of explanations against counts by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmidd.evaluation.explanations import distinct, grams, measure_explanations
from mmidd.evaluation.measuring import Terms
from mmidd.schema import Split
from tests.evaluation.evaluation_world import SPEC

TERMS = Terms(Split.TEST, SPEC, replicates=20)


def seen(*rows: dict[str, Any]) -> pl.DataFrame:
    types: dict[str, Any] = {"answer": pl.String, "well_formed": pl.Boolean, "said": pl.Int8}
    types |= {"named": pl.List(pl.String), "cluster": pl.String}
    fixed: dict[str, Any] = {"answer": "it is so", "well_formed": True, "said": 1, "named": []}
    numbered = [fixed | row | {"cluster": f"c{n}"} for n, row in enumerate(rows)]
    return pl.DataFrame(numbered, schema=types)


@given(st.lists(st.sampled_from("ab"), max_size=8), st.integers(1, 3))
def test_grams_are_all_neighbours(tokens: list[str], n: int) -> None:
    assert grams(tokens, n) == [tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1)]


def test_distinct_counts_different_grams_of_the_corpus() -> None:
    texts = [["a", "b", "a"], ["a", "b"]]
    assert distinct(texts, 1) == pytest.approx(2 / 5)
    assert distinct(texts, 2) == pytest.approx(2 / 3), "no pair goes from a text into the next"
    assert distinct([["a"]], 2) is None


def test_every_statistic_is_a_count_by_hand() -> None:
    lengths = [1, 3, 4, 10, 40]
    rows: list[dict[str, Any]] = [{"answer": " ".join(["nose"] * (n - 1) + ["end"])} for n in lengths]
    rows[0] |= {"well_formed": False, "said": None}
    rows[1] |= {"named": ["nose", "mouth"], "said": 0}
    rows[2] |= {"named": ["nose"], "well_formed": False, "answer": "Nose, nose... 2 NOSE end!"}
    found = measure_explanations(seen(*rows, {"answer": None, "said": None}), TERMS)
    assert found is not None
    assert found.words == (4.0, *np.quantile(lengths, [0.05, 0.95]))
    within = [min(n, 2) / n for n in lengths]
    assert found.distinct["distinct_1"] == pytest.approx(2 / sum(lengths))
    assert found.distinct["within_1"] == pytest.approx(np.mean(within))
    assert found.distinct["distinct_2"] == pytest.approx(2 / sum(n - 1 for n in lengths))
    assert found.distinct["within_2"] == pytest.approx(np.mean([2 / 2, 2 / 3, 2 / 9, 2 / 39]))
    shares = {name: estimate.value for name, estimate in found.shares.metrics.items()}
    assert shares == pytest.approx({"well_formed": 3 / 5, "unparsed": 1 / 5, "names_region": 2 / 5})
    assert found.shares.items == 5
    assert found.regions == {"nose": 2, "mouth": 1}


def test_empty_texts_count_and_have_no_distinct_words() -> None:
    found = measure_explanations(seen({"answer": ""}, {"answer": "  "}), TERMS)
    assert found is not None
    assert found.words == (0, 0, 0)
    assert found.distinct == dict.fromkeys(("distinct_1", "distinct_2", "within_1", "within_2"))


def test_without_texts_there_is_nothing() -> None:
    assert measure_explanations(seen({"answer": None}), TERMS) is None
