"""Conditions on a table's columns, as users write them: SQL."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl

from mmidd.errors import UsageError


def matching(rows: pl.LazyFrame, where: str | None) -> pl.LazyFrame:
    """The rows for which a condition holds; all without one.

    Raises:
        UsageError: the condition is no SQL, names a column that the table has not, or compares
            what cannot be compared.
    """
    if where is None:
        return rows
    with _named(where):
        condition = pl.sql_expr(where)
        pl.DataFrame(schema=rows.collect_schema()).filter(condition)
        return rows.filter(condition)


def matched(rows: pl.DataFrame, where: str | None) -> pl.DataFrame:
    """The same of rows in memory.

    Raises:
        UsageError: as in `matching`, or a row has a value that the condition cannot be asked of.
    """
    chosen = matching(rows.lazy(), where)
    if where is None:
        return rows
    with _named(where):
        return chosen.collect()


@contextmanager
def _named(where: str) -> Iterator[None]:
    try:
        yield
    except pl.exceptions.PolarsError as error:
        raise UsageError(
            f"--where {where!r} cannot be used: {str(error).splitlines()[0]}; write SQL such as "
            "--where \"source = 'ffhq'\""
        ) from error
