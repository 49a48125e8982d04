"""The two pages of a caption audit, each one self-contained HTML file, light and dark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import polars as pl

from mmidd import __version__
from mmidd.audit.rows import Severity
from mmidd.captioning.audit.review import Card
from mmidd.captioning.audit.rows import Findings
from mmidd.files import TEMPORARY

SHOWN = 200
"""Rows shown of a table, and of the findings of one check."""

MEANING = {
    "reviews": "Accepted share of the reviewed captions, with Wilson's 95% interval, by source and type. The "
    "strata were drawn in equal shares, so their counts do not add up to a rate of the whole.",
    "associations": "Cramér's V, bias-corrected (Bergsma 2013), of every attribute with label and source, "
    "over one caption per video; p by the chi-squared test. A high V with the label is a shortcut: a "
    "detector can read the label off the caption. With the source it shows what gives a data set away.",
    "measured": "Spearman's rank correlation of what was said with what was measured on the same picture, "
    "over one caption per video. Absent means below 0.1 or not significant at 0.05.",
    "duplicates": "Sentences that several captions share: exact ones, and near ones, whose word 3-shingles "
    "have a Jaccard similarity of at least 0.9. Captions and their share are those of groups across videos.",
    "agreement": "The same samples by both: share of equal values, and Cohen's kappa, which is 0 by chance.",
    "wording": "The same samples by both: share of equal sentences, and Jaccard similarity of their words.",
}

_SHARES = {"share", "rate", "low", "high", "exact", "identical"}


@dataclass(frozen=True)
class Shown:
    """A table ready for the page; `numeric` says which columns are numbers."""

    title: str
    meaning: str
    head: list[str]
    numeric: list[bool]
    rows: list[list[str]]
    total: int


def write_report(
    path: Path, title: str, headline: str, found: Findings, tables: Mapping[str, pl.DataFrame]
) -> None:
    """Write the report of an audit, whole or not at all."""
    checks = found.group_by("severity", "kind", "check", maintain_order=True).len("findings")
    details = [
        (check, shown("", one.select("sample_id", "value", "detail")))
        for check, one in (
            (" · ".join(map(str, key)), part)
            for key, part in found.partition_by("severity", "kind", "check", as_dict=True).items()
        )
    ]
    _write(
        path,
        "captions.html.j2",
        title=title,
        headline=headline,
        verdict=verdict(found),
        checks=shown("checks", checks),
        tables=[shown(name, table) for name, table in tables.items() if table.height],
        details=details,
    )


def write_review(path: Path, title: str, backend: str, key: str, cards: list[Card]) -> None:
    """Write the review page, whole or not at all."""
    _write(path, "review.html.j2", title=title, backend=backend, key=key, cards=cards)


def verdict(found: Findings) -> str:
    """The one line a reader takes home."""
    counts = {level: found.filter(pl.col("severity") == level.value).height for level in Severity}
    if not counts[Severity.ERROR] and not counts[Severity.WARNING]:
        return "Nothing is wrong"
    return f"{counts[Severity.ERROR]:,} errors and {counts[Severity.WARNING]:,} warnings"


def shown(name: str, table: pl.DataFrame) -> Shown:
    """The first rows of a table as text."""
    return Shown(
        title=name,
        meaning=MEANING.get(name, ""),
        head=[column.replace("_", " ") for column in table.columns],
        numeric=[dtype.is_numeric() for dtype in table.dtypes],
        rows=[
            [cell(column, value) for column, value in row.items()]
            for row in table.head(SHOWN).iter_rows(named=True)
        ],
        total=table.height,
    )


def cell(column: str, value: Any) -> str:
    """A value for people."""
    if value is None:
        return "-"
    if column in _SHARES:
        return f"{value:.1%}"
    if isinstance(value, int):
        return f"{value:,}"
    if not isinstance(value, float):
        return str(value)
    if column == "p":
        return "< 0.001" if value < 0.001 else f"{value:.3f}"
    return f"{value:,.0f}" if value.is_integer() and abs(value) > 1 else f"{value:.2f}"


def _write(path: Path, template: str, **values: object) -> None:
    html = _environment().get_template(template).render(version=__version__, **values)
    temporary = path.with_name(TEMPORARY + path.name)
    temporary.write_text(html, encoding="utf-8")
    temporary.replace(path)


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("mmidd.captioning.audit"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
