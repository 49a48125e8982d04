"""What a sample's JSON holds: its manifest row without what only says where its bytes lay."""

from __future__ import annotations

from typing import Any

import polars as pl

from mmidd import schema

_NOT_CONTENT = (
    {column.name for column in schema.LEDGER}
    | {column.name for column in schema.PLACEMENT if column.name != "sha256"}
    | {"mask_offset", "mask_length", "table"}
)


def content(rows: pl.DataFrame) -> pl.DataFrame:
    """The columns of the JSON, sorted by name."""
    return rows.select(sorted(set(rows.columns) - _NOT_CONTENT))


def json_of(rows: pl.DataFrame) -> list[str]:
    """Every row's JSON: sorted keys, no white space, floats by the shortest text of their width.

    Floats must be finite, see `not_finite`: JSON has no others, and they would become null.
    """
    return content(rows).select(pl.struct(pl.all()).struct.json_encode()).to_series().to_list()


def not_finite(rows: pl.DataFrame) -> pl.Expr:
    """Whether a row has a NaN or an infinity among its content, at any depth; null counts as no."""
    columns = content(rows).schema.items()
    faults = [_not_finite(pl.col(name), dtype) for name, dtype in columns if _has_floats(dtype)]
    return pl.any_horizontal([pl.lit(value=False), *faults])


def _has_floats(dtype: Any) -> bool:
    match dtype:
        case pl.List() | pl.Array():
            return _has_floats(dtype.inner)
        case pl.Struct():
            return any(_has_floats(field.dtype) for field in dtype.fields)
        case _:
            return bool(dtype.is_float())


def _not_finite(value: pl.Expr, dtype: Any) -> pl.Expr:
    match dtype:
        case pl.Array():
            return _not_finite(value.arr.to_list(), pl.List(dtype.inner))
        case pl.List():
            fault = value.list.eval(_not_finite(pl.element(), dtype.inner)).list.any()
        case pl.Struct():
            fields = [field for field in dtype.fields if _has_floats(field.dtype)]
            fault = pl.any_horizontal(_not_finite(value.struct.field(f.name), f.dtype) for f in fields)
        case _:
            fault = ~value.is_finite()
    return fault.fill_null(value=False)
