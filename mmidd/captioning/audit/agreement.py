"""How far two backends, models or seeds say the same about the same samples."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import polars as pl

from mmidd.audit.rows import Severity
from mmidd.captioning.audit.duplicates import jaccard, words
from mmidd.captioning.audit.rows import SENTENCES, Captioned, Findings, Kind, finding_rows
from mmidd.errors import UsageError

SLIGHT = 0.2
"""Kappa up to which agreement is slight (Landis and Koch, Biometrics 1977)."""

FEWEST = 20
"""Captions from which on slight agreement is a finding."""

ATTRIBUTES = {"attribute": pl.String(), "exact": pl.Float64(), "kappa": pl.Float64(), "n": pl.Int64()}
WORDING = {
    "sentence": pl.String(),
    "identical": pl.Float64(),
    "jaccard": pl.Float64(),
    "jaccard_median": pl.Float64(),
    "n": pl.Int64(),
}


def cohens_kappa(a: Sequence[str], b: Sequence[str]) -> float | None:
    """Agreement of two raters beyond chance (Cohen 1960); None where both always say the same one thing."""
    n = len(a)
    if not n:
        return None
    observed = sum(x == y for x, y in zip(a, b, strict=True)) / n
    first, second = Counter(a), Counter(b)
    chance = sum(first[value] * second[value] for value in first) / n**2
    return None if chance == 1 else (observed - chance) / (1 - chance)


def attributes(ours: pl.DataFrame, theirs: pl.DataFrame) -> tuple[list[Findings], pl.DataFrame]:
    """Exact agreement and Cohen's kappa of the attributes that both have, in categories."""
    both = ours.join(theirs, on="sample_id", suffix=" of the other")
    common = [name for name in ours.columns if name in theirs.columns and name != "sample_id"]
    rows = []
    for name in common:
        known = both.select(a=name, b=f"{name} of the other").drop_nulls()
        a, b = known["a"].to_list(), known["b"].to_list()
        exact = (known["a"] == known["b"]).mean()
        rows.append({"attribute": name, "exact": exact, "kappa": cohens_kappa(a, b), "n": known.height})
    table = pl.DataFrame(rows, schema=ATTRIBUTES).sort("kappa", "attribute", nulls_last=True)
    slight = (pl.col("kappa") < SLIGHT) & (pl.col("n") >= FEWEST)
    bad = table.filter(slight).with_columns(
        value="kappa", detail=pl.format("{}: agreement is slight (n {})", "attribute", "n")
    )
    return [finding_rows(bad, Kind.AGREEMENT, pl.col("attribute"), Severity.WARNING)], table


def wording(ours: Captioned, theirs: Captioned) -> pl.DataFrame:
    """The share of identical sentences and the Jaccard similarity of their sets of words.

    Raises:
        UsageError: the two captioned no sample in common.
    """
    both = ours.rows.join(theirs.rows, on="sample_id", suffix="_other")
    if not both.height:
        raise UsageError("the two have captioned no sample in common; caption the same samples with both")
    rows = []
    for name in SENTENCES:
        pairs = both.select(a=name, b=f"{name}_other").drop_nulls()
        shared = pl.Series(
            [jaccard(frozenset(words(a)), frozenset(words(b))) for a, b in pairs.iter_rows()],
            dtype=pl.Float64,
        )
        rows.append(
            {
                "sentence": name,
                "identical": (pairs["a"] == pairs["b"]).mean(),
                "jaccard": shared.mean(),
                "jaccard_median": shared.median(),
                "n": pairs.height,
            }
        )
    return pl.DataFrame(rows, schema=WORDING)
