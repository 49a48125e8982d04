"""The names of settings, and configurations that are checked by them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from mmidd.errors import UsageError

ConfigT = TypeVar("ConfigT", bound=BaseModel)


def keys_of(kind: type[BaseModel]) -> list[str]:
    """The dotted keys of a configuration and of all within it, as `optim.lr`."""
    keys = []
    for name, field in kind.model_fields.items():
        inner = [key for model in _models(field.annotation) for key in keys_of(model)]
        keys += [name, *(f"{name}.{key}" for key in inner)]
    return keys


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)


def no_setting(key: str, kind: type[BaseModel]) -> str:
    """Says that there is no such key, and which is the nearest."""
    return f"no setting {key!r}; the nearest is {_nearest(key, keys_of(kind))!r}"


def _nearest(key: str, known: Iterable[str]) -> str:
    """The most similar key, by the whole or by what follows the last dot."""

    def likeness(candidate: str) -> float:
        whole = difflib.SequenceMatcher(None, key, candidate).ratio()
        leaf = difflib.SequenceMatcher(None, key.rsplit(".")[-1], candidate.rsplit(".")[-1]).ratio()
        return max(whole, leaf)

    return max(known, key=likeness)


def validated(kind: type[ConfigT], data: Any, where: str) -> ConfigT:
    """The configuration of the data, which stands `where`.

    Raises:
        UsageError: the first unknown key, with the nearest, or else the first thing that is wrong.
    """
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        raise UsageError(f"{where}: {_first(error, kind)}; correct it and run again") from None


def _first(error: ValidationError, kind: type[BaseModel]) -> str:
    problems = error.errors()
    unknown = [problem for problem in problems if problem["type"] == "extra_forbidden"]
    if unknown:
        return no_setting(".".join(part for part in unknown[0]["loc"] if isinstance(part, str)), kind)
    where = ".".join(map(str, problems[0]["loc"])) or "configuration"
    return f"{where}: {problems[0]['msg'].removeprefix('Value error, ')}"
