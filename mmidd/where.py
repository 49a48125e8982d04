"""Conditions on a table's columns, as users write them: SQL."""

from __future__ import annotations

import polars as pl

from mmidd.errors import UsageError


def matching(rows: pl.LazyFrame, where: str | None) -> pl.LazyFrame:
    """The rows for which a condition holds; all without one.

    Raises:
        UsageError: the condition is no SQL, or names a column that the table has not.
    """
    if where is None:
        return rows
    try:
        chosen = rows.filter(pl.sql_expr(where))
        chosen.collect_schema()
    except pl.exceptions.PolarsError as error:
        raise UsageError(
            f"--where {where!r} cannot be used: {str(error).splitlines()[0]}; write SQL such as "
            "--where \"source = 'ffhq'\""
        ) from error
    return chosen
