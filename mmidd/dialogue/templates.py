"""The wording of the conversations: `templates.yaml`, read once and checked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import Annotated, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mmidd.dialogue.finding import REGIONS, TRACES
from mmidd.errors import DataError

SCORE_SLOT = "<forgery_score>"
"""Stands in the text for the detector's integer percent, which is known at training time."""

KINDS = ("where", "sure", "why", "natural")
"""Kinds of follow-up questions."""

_FORMS = re.compile(r"\[([^][|{}]*)\|([^][|{}]*)\]")
_FIELD = re.compile(r"\{(\w*)\}")
_SCORE = "score"
_FIELDS: dict[str, dict[str, set[str]]] = {
    "verdict": {"questions": set(), "fake": {"placed"}, "real": set()},
    "where": {"questions": set(), "fake": {"placed"}, "real": set()},
    "sure": {"questions": set(), "fake": {"regions", _SCORE}, "real": {_SCORE}},
    "why": {"questions": set(), "fake": {"regions", "reasons"}, "real": {"reasons"}},
    "natural": {"questions": set(), "fake": {"natural"}, "real": {"natural"}},
}
"""What every template of a turn must be filled with, once each."""

Lines = Annotated[tuple[str, ...], Field(min_length=1)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Turn(_Frozen):
    """Wordings of a question and of its answer for either label."""

    questions: Lines
    fake: Lines
    real: Lines


class Templates(_Frozen):
    """All wordings; the file explains the placeholders."""

    backgrounds: Lines
    detector: Lines
    turns: dict[str, Turn]
    traces: dict[str, Lines]
    untraced: Lines
    consistent: dict[str, Lines]
    surroundings: Lines
    regions: dict[str, str]
    neighbours: dict[str, tuple[str, ...]]

    @model_validator(mode="after")
    def _complete(self) -> Self:
        wanted = {"turns": ("verdict", *KINDS), "traces": TRACES, "regions": REGIONS, "neighbours": REGIONS}
        for name, keys in wanted.items():
            if differing := sorted(set(keys) ^ set(getattr(self, name))):
                raise ValueError(f"{name}.{differing[0]}: missing or unknown")
        for name, parts in self.neighbours.items():
            if unknown := sorted(set(parts) - set(REGIONS)):
                raise ValueError(f"neighbours.{name}: no such region: {unknown[0]}")
        return self

    @model_validator(mode="after")
    def _fillable(self) -> Self:
        for key, lines, wanted in self._groups():
            for i, line in enumerate(lines):
                if problem := _problem(line, wanted):
                    raise ValueError(f"{key}.{i}: {problem}")
        return self

    def _groups(self) -> Iterator[tuple[str, tuple[str, ...], set[str]]]:
        """Key, templates and what they are filled with."""
        yield "backgrounds", self.backgrounds, set()
        yield "detector", self.detector, {_SCORE}
        for name, parts in _FIELDS.items():
            for part, wanted in parts.items():
                yield f"turns.{name}.{part}", getattr(self.turns[name], part), wanted
        for trace, lines in self.traces.items():
            yield f"traces.{trace}", lines, set()
        for aspect, lines in self.consistent.items():
            yield f"consistent.{aspect}", lines, set()
        yield "untraced", self.untraced, set()
        yield "surroundings", self.surroundings, set()
        yield "regions", tuple(self.regions.values()), set()


@cache
def templates() -> Templates:
    """The shipped wordings."""
    return parse((resources.files("mmidd.dialogue") / "templates.yaml").read_text(encoding="utf-8"))


def parse(text: str) -> Templates:
    """Wordings from YAML.

    Raises:
        DataError: reason `templates`, the detail begins with the key that is wrong.
    """
    try:
        return Templates.model_validate(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise DataError("templates", " ".join(str(error).split())) from error
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise DataError("templates", f"{key}: {message}" if key else message) from error


def inflect(text: str, count: int) -> str:
    """Every `[one|many]` in the form for `count` things."""
    return _FORMS.sub(lambda forms: forms[1] if count == 1 else forms[2], text)


def placeholders(text: str) -> list[str]:
    """Names of the `{placeholders}`, in order."""
    return [str(name) for name in _FIELD.findall(text)]


def _problem(line: str, wanted: set[str]) -> str | None:
    found = placeholders(line) + [_SCORE] * line.count(SCORE_SLOT)
    rest = _FIELD.sub("", _FORMS.sub("", line)).replace(SCORE_SLOT, "")
    if sorted(found) != sorted(wanted):
        return f"holds {sorted(found)} instead of {sorted(wanted)}"
    if re.search(r"[][{}|<>]", rest):
        return f"has an unfinished [one|many] or {{placeholder}}: {line!r}"
    return None
