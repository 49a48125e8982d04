"""What written explanations look like: how long, how varied, and what they name."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from statistics import fmean

import numpy as np
import polars as pl

from mmidd.evaluation.localisation import means
from mmidd.evaluation.measuring import Terms, measure_sums
from mmidd.evaluation.metrics import Floats, ratio
from mmidd.evaluation.results import Explanations
from mmidd.training.rl.chain import words_of

_SHARES = ("well_formed", "unparsed", "names_region")
_QUANTILES = (0.5, 0.05, 0.95)

Gram = tuple[str, ...]


def grams(tokens: Sequence[str], n: int) -> list[Gram]:
    """Every n neighbouring tokens."""
    return list(zip(*(itertools.islice(tokens, start, None) for start in range(n)), strict=False))


def distinct(texts: Sequence[Sequence[str]], n: int) -> float | None:
    """Different n-grams of all texts by all of them (Li et al. 2016, arXiv 1510.03055); None without any."""
    found = [gram for tokens in texts for gram in grams(tokens, n)]
    return len({*found}) / len(found) if found else None


def measure_explanations(seen: pl.DataFrame, terms: Terms) -> Explanations | None:
    """Statistics of written answers, None without any.

    `distinct_1` and `distinct_2` are `distinct` of the whole corpus, which falls with its size, so compare
    corpora of as many texts; `within_1` and `within_2` are its means over single texts.

    Args:
        seen: samples with their evidence, see `localisation.joined`.
        terms: of the evaluation.
    """
    told = seen.filter(pl.col("answer").is_not_null())
    if told.is_empty():
        return None
    texts = [words_of(text.lower()) for text in told["answer"]]
    median, low, high = np.quantile([len(tokens) for tokens in texts], _QUANTILES).tolist()
    named = Counter(itertools.chain.from_iterable({*names} for names in told["named"]))
    shares = told.with_columns(unparsed=pl.col("said").is_null(), names_region=pl.col("named").list.len() > 0)
    return Explanations(
        words=(median, low, high),
        distinct=_distinct(texts),
        shares=measure_sums("all", "all", means(shares, *_SHARES), told["cluster"], _statistic, terms),
        regions=dict(named.most_common()),
    )


def _distinct(texts: Sequence[Sequence[str]]) -> dict[str, float | None]:
    found: dict[str, float | None] = {f"distinct_{n}": distinct(texts, n) for n in (1, 2)}
    for n in (1, 2):
        each = [one for tokens in texts if (one := distinct([tokens], n)) is not None]
        found[f"within_{n}"] = fmean(each) if each else None
    return found


def _statistic(sums: Floats) -> dict[str, Floats]:
    return {name: ratio(sums[:, 2 * i], sums[:, 2 * i + 1]) for i, name in enumerate(_SHARES)}
