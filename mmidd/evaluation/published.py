"""Published numbers of a run's method, for the datasets that it was evaluated on."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, model_validator

from mmidd.errors import UsageError
from mmidd.evaluation.protocol import Level
from mmidd.evaluation.results import Evaluation, Result
from mmidd.ingest.base import find_reader

CAVEAT = "published, other data and crops; not comparable unless the protocol is the same"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Published(_Frozen):
    """One table of a publication.

    Attributes:
        of: methods of mmidd whose runs it is shown beside.
        source: where it stands.
        level: what was scored.
        metrics: names of the numbers of an entry, of which the last may be missing.
        rows: by the name that the publication gives a method, numbers in percent by source of data.
    """

    of: tuple[str, ...]
    source: str
    level: Literal["video", "frame", "image"]
    metrics: tuple[str, ...]
    rows: dict[str, dict[str, tuple[float, ...]]]


class _File(_Frozen):
    titles: dict[str, str]
    tables: tuple[Published, ...]

    @model_validator(mode="after")
    def _titled(self) -> Self:
        named = {name for table in self.tables for row in table.rows.values() for name in row}
        if untitled := sorted(named - set(self.titles)):
            raise ValueError(f"titles.{untitled[0]} is missing")
        return self


@dataclass(frozen=True)
class Beside:
    """A published table cut to what was evaluated: headings of the columns, and cells by row, ours first."""

    heading: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[str, ...]]


@cache
def published() -> _File:
    """All shipped tables."""
    text = (resources.files("mmidd.evaluation") / "published.yaml").read_text(encoding="utf-8")
    return _File.model_validate(yaml.safe_load(text))


def beside(evaluation: Evaluation) -> list[Beside]:
    """The tables of the run's method for the sources it was evaluated on, by source or by dataset's name."""
    sources = [result.name for result in evaluation.at(Level.VIDEO) if result.kind == "source"]
    known = [name for name in published().titles if name in {*sources, _source(evaluation.dataset)}]
    tables = [table for table in published().tables if evaluation.method in table.of]
    return [_cut(table, names, evaluation) for table in tables if (names := _shared(table, known))]


def _source(dataset: str) -> str:
    """The source that a folder is named after."""
    try:
        return find_reader(dataset).info.key
    except UsageError:
        return dataset


def _shared(table: Published, known: list[str]) -> list[str]:
    return [name for name in known if any(name in row for row in table.rows.values())]


def _cut(table: Published, names: list[str], evaluation: Evaluation) -> Beside:
    ours = {name: _ours(table, evaluation, name) for name in names}
    rows = {"this run": ours, **table.rows}
    return Beside(
        f"{table.level} {' / '.join(table.metrics)} in %, {table.source}",
        tuple(published().titles[name] for name in names),
        {
            method: tuple(" / ".join(f"{value:.2f}" for value in row.get(name, ())) or "-" for name in names)
            for method, row in rows.items()
            if any(name in row for name in names)
        },
    )


def _ours(table: Published, evaluation: Evaluation, source: str) -> tuple[float, ...]:
    """The same numbers of this evaluation; none where they are undefined."""
    results = evaluation.at(Level.VIDEO if table.level == "video" else Level.FRAME)
    of_source = [result for result in results if (result.kind, result.name) == ("source", source)]
    result: Result = (of_source or results)[0]
    values = [result.metrics[name.lower()].value for name in table.metrics]
    return tuple(100 * value for value in values if value is not None)
