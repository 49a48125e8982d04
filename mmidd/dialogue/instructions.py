"""General visual instructions in LLaVA's format: {id, image?, conversations}."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from mmidd.dialogue.conversation import IMAGE_SLOT, SCORE_SLOT, Message
from mmidd.errors import UsageError


@dataclass(frozen=True)
class Instruction:
    """One dialogue, by human and gpt in turn, about an image or none."""

    id: str
    image: Path | None
    messages: tuple[Message, ...]


class _Said(BaseModel):
    who: Literal["human", "gpt"] = Field(alias="from")
    value: str


class _Record(BaseModel):
    model_config = ConfigDict(coerce_numbers_to_str=True)

    id: str
    image: str | None = None
    conversations: Annotated[list[_Said], Field(min_length=2)]


_RECORD = TypeAdapter(_Record)


def load_instructions(file: Path, images: Path | None = None) -> tuple[Instruction, ...]:
    """The dialogues of a file, in its order.

    Args:
        file: JSON list of records, or with the ending .jsonl one record a line.
        images: folder that the images' paths start from.

    Raises:
        UsageError: no such file, or a record of another form; names the first.
    """
    if not file.is_file():
        raise UsageError(f"there is no file {file}; --set instructions.file=FILE in LLaVA's format")
    found = tuple(_instruction(raw, number, file, images) for number, raw in enumerate(_raw(file)))
    if not found:
        raise UsageError(f"{file} holds no dialogues; give another, or leave instructions out")
    return found


def _raw(file: Path) -> Iterator[object]:
    try:
        text = file.read_text(encoding="utf-8")
        parts = (
            [json.loads(line) for line in text.splitlines() if line]
            if file.suffix == ".jsonl"
            else json.loads(text)
        )
    except (OSError, ValueError) as error:
        raise UsageError(f"{file} is not JSON ({' '.join(str(error).split())}); correct it") from error
    if not isinstance(parts, list):
        raise UsageError(f"{file} is no list of dialogues; write [{{id, image, conversations}}, ...]")
    yield from parts


def _instruction(raw: object, number: int, file: Path, images: Path | None) -> Instruction:
    try:
        record = _RECORD.validate_python(raw)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "record"
        raise _wrong(file, number, f"{where}: {first['msg']}") from None
    if problem := _problem(record, images):
        raise _wrong(file, number, problem)
    messages = tuple[Message, ...]({"from": said.who, "value": said.value} for said in record.conversations)
    return Instruction(record.id, images / record.image if images and record.image else None, messages)


def _problem(record: _Record, images: Path | None) -> str | None:
    said = record.conversations
    if [one.who for one in said] != ["human", "gpt"] * (len(said) // 2):
        return "human and gpt must speak in turn, and gpt last"
    places = [one.value.count(IMAGE_SLOT) for one in said]
    if places != [int(record.image is not None), *[0] * (len(said) - 1)]:
        return f"{IMAGE_SLOT} must stand once in the first question where there is an image, and nowhere else"
    if any(SCORE_SLOT in one.value for one in said):
        return f"{SCORE_SLOT} belongs to dialogues about forgeries"
    if record.image is not None:
        if images is None:
            return "it has an image; --set instructions.images=FOLDER"
        path = PurePosixPath(record.image)
        if path.is_absolute() or ".." in path.parts:
            return "its image lies outside the folder of images"
    return None


def _wrong(file: Path, number: int, problem: str) -> UsageError:
    return UsageError(f"{file}: dialogue {number}: {problem}; correct it and run again")
