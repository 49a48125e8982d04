"""Checks of single captions: failures, schema, length, and words that give a verdict."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from mmidd.audit.rows import Severity
from mmidd.captioning.audit.rows import SENTENCES, Captioned, Findings, Kind, finding_rows
from mmidd.captioning.sentences import leaks

CLIP_TOKENS = 77
"""CLIP's text length, start and end token included; what is longer is cut."""

FEWEST_WORDS = 5


def failures(captioned: Captioned) -> list[Findings]:
    """One finding per failed sample, by reason, and how many samples no row is about."""
    failed = captioned.failures.select("sample_id", "detail", "reason")
    left = captioned.samples - captioned.rows.height - failed.height
    detail = f"{left:,} of {captioned.samples:,} usable samples have no caption"
    missing = pl.DataFrame({"value": [float(left)], "detail": [detail]}).filter(pl.col("value") > 0)
    reason = pl.col("reason").fill_null("unknown")
    return [
        finding_rows(failed, Kind.FAILURE, reason, Severity.WARNING),
        finding_rows(missing, Kind.COVERAGE, "uncaptioned", Severity.INFO),
    ]


def invalid(captioned: Captioned, attributes: pl.DataFrame) -> list[Findings]:
    """One finding per caption whose facts do not parse, and how many captions took a second try."""
    faults = attributes.filter(pl.col("fault").is_not_null())
    again = captioned.rows.filter(pl.col("tries") > 1).height
    share = f"{again / max(1, captioned.rows.height):.1%} of the captions took a second try"
    retried = pl.DataFrame({"value": [float(again)], "detail": [share]}).filter(pl.col("value") > 0)
    return [
        finding_rows(faults, Kind.SCHEMA, pl.col("fault"), Severity.ERROR),
        finding_rows(retried, Kind.SCHEMA, "second_try", Severity.INFO),
    ]


def token_counter() -> Callable[[str], int]:
    """CLIP's tokens of a text, start and end token included."""
    from open_clip.tokenizer import SimpleTokenizer

    tokenizer = SimpleTokenizer()
    return lambda text: len(tokenizer.encode(text)) + 2


def lengths(captioned: Captioned) -> list[Findings]:
    """Sentences that are missing, too short to describe anything, or longer than CLIP reads."""
    count = token_counter()
    parts: list[Findings] = []
    for name in SENTENCES:
        texts = captioned.rows.select("sample_id", detail=pl.col(name).str.strip_chars())
        blank = pl.col("detail").fill_null("") == ""
        words = pl.col("detail").str.count_matches(r"\S+")
        short = texts.filter(~blank & (words < FEWEST_WORDS)).with_columns(value=words)
        tokens = _of_each(texts.filter(~blank), count, pl.Int64())
        long = tokens.filter(pl.col("value") > CLIP_TOKENS)
        parts += [
            finding_rows(texts.filter(blank), Kind.LENGTH, f"{name}_missing", Severity.ERROR),
            finding_rows(short, Kind.LENGTH, f"{name}_too_short", Severity.WARNING),
            finding_rows(long, Kind.LENGTH, f"{name}_too_long", Severity.ERROR),
        ]
    return parts


def verdicts(captioned: Captioned, attributes: pl.DataFrame) -> list[Findings]:
    """One finding per sentence or attribute that holds a word of `VERDICT_WORDS`."""
    spoken = [name for name, dtype in attributes.schema.items() if dtype == pl.String]
    held = [name for name in spoken if name not in ("sample_id", "fault", "detail")]
    parts = []
    for frame, columns in ((captioned.rows, SENTENCES), (attributes, held)):
        for name in columns:
            texts = frame.select("sample_id", detail=name).drop_nulls()
            judged = _of_each(texts, leaks, pl.List(pl.String)).filter(pl.col("value").list.len() > 0)
            named = judged.with_columns(
                value=pl.col("value").list.len(),
                detail=pl.format("{}: {}", pl.col("value").list.join(", "), "detail"),
            )
            parts.append(finding_rows(named, Kind.VERDICT, name, Severity.ERROR))
    return parts


def _of_each(texts: pl.DataFrame, function: Callable[[str], object], dtype: pl.DataType) -> pl.DataFrame:
    """The texts in `detail` with what the function makes of each in `value`; equal texts are asked once."""
    each = texts.select("detail").unique()
    values = pl.Series("value", [function(text) for text in each["detail"]], dtype=dtype)
    return texts.join(each.with_columns(values), on="detail", how="left", maintain_order="left")
