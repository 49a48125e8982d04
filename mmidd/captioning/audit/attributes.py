"""The attributes of captions as columns, read with the schema of the backend that wrote them."""

from __future__ import annotations

import polars as pl
from pydantic import BaseModel, ValidationError

from mmidd.captioning.description import Description
from mmidd.captioning.measured import Facts

LEVELS = 12
"""Values of a free phrase that are told apart; all rarer ones are `OTHER`."""

OTHER = "(other)"

_SLICE = 50_000
_QUARTERS = ("lowest quarter", "second quarter", "third quarter", "highest quarter")


def schema_of(backend: str) -> type[BaseModel]:
    """What `facts` of a backend must parse as."""
    return Facts if backend == "measured" else Description


def names(model: type[BaseModel]) -> dict[str, pl.DataType]:
    """The attributes of a schema: the fields of its parts, as in `face.pose`; its own where it has none."""
    parts = {
        name: field.annotation
        for name, field in model.model_fields.items()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
    }
    if parts:
        return {f"{part}.{name}": pl.String() for part, of in parts.items() for name in of.model_fields}
    return {
        name: pl.String() if field.annotation is str else pl.Float64()
        for name, field in model.model_fields.items()
    }


def parse(rows: pl.DataFrame, backend: str) -> pl.DataFrame:
    """The attributes of every row: `sample_id`, `fault`, `detail`, and a column per attribute.

    `fault` is null where `facts` is valid; else it is `facts_missing`, `facts_not_json` or
    `facts_invalid`, and the attributes are null.
    """
    model = schema_of(backend)
    return pl.concat([_parsed(part, model) for part in (rows.clear(), *rows.iter_slices(_SLICE))])


def _parsed(rows: pl.DataFrame, model: type[BaseModel]) -> pl.DataFrame:
    wanted = names(model)
    columns: dict[str, list[object]] = {name: [] for name in ("fault", "detail", *wanted)}
    for text in rows["facts"]:
        values = _values(text, model)
        for name, column in columns.items():
            column.append(values.get(name))
    types = {"fault": pl.String(), "detail": pl.String(), **wanted}
    return pl.DataFrame(columns, schema=types).insert_column(0, rows["sample_id"])


def _values(text: str | None, model: type[BaseModel]) -> dict[str, object]:
    if text is None:
        return {"fault": "facts_missing"}
    try:
        answer = model.model_validate_json(text).model_dump()
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        fault = "facts_not_json" if first["type"] == "json_invalid" else "facts_invalid"
        return {"fault": fault, "detail": f"{where}: {first['msg']}" if where else first["msg"]}
    nested = {
        f"{part}.{name}": v for part, of in answer.items() if isinstance(of, dict) for name, v in of.items()
    }
    return nested or answer


def categories(attributes: pl.DataFrame) -> pl.DataFrame:
    """Every attribute in few categories: numbers in quarters of the captions, phrases the most frequent."""
    given = attributes.drop("fault", "detail")
    return given.with_columns(
        _quarters(name) if dtype.is_numeric() else _frequent(given, name)
        for name, dtype in given.schema.items()
        if name != "sample_id"
    )


def _quarters(name: str) -> pl.Expr:
    """Equal numbers share a quarter, whatever their rank."""
    place = (pl.col(name).rank("average") - 0.5) / pl.col(name).count() * len(_QUARTERS)
    return place.floor().replace_strict(range(len(_QUARTERS)), _QUARTERS, return_dtype=pl.String).alias(name)


def _frequent(given: pl.DataFrame, name: str) -> pl.Expr:
    text = pl.col(name).str.to_lowercase().str.strip_chars()
    counts = given.select(text).drop_nulls().group_by(name).len().sort("len", name, descending=[True, False])
    kept = counts.head(LEVELS)[name].implode()
    return pl.when(text.is_in(kept) | text.is_null()).then(text).otherwise(pl.lit(OTHER)).alias(name)
