"""What a vision-language model is asked, and how its answer is checked."""

from __future__ import annotations

import json
from typing import Any

from pydantic import ValidationError

from mmidd.captioning.clip_length import clip_length
from mmidd.captioning.description import Description
from mmidd.captioning.sentences import leaks
from mmidd.engine import content_id
from mmidd.errors import DataError

CLIP_TOKENS = 77
"""What CLIP's text tower reads, begin and end included; it cuts off the rest silently."""

MAX_TOKENS = 400

INSTRUCTION = """\
Describe this face photograph as JSON, in plain words and only from what can be seen.
face: age_range, gender_presentation, expression, pose (left and right as in the picture), hair, \
skin_tone, skin_texture, accessories ("none" if there are none), occlusion.
environment: scene, background, lighting, colour (the dominant one of the background), image_quality.
face_sentence: one flowing sentence of 12 to 30 words about the face.
environment_sentence: one flowing sentence of 12 to 30 words about everything but the face.
Only describe. Say nothing about where the picture comes from or how it was made."""


def schema() -> dict[str, Any]:
    """The JSON schema of an answer, for guided decoding."""
    return Description.model_json_schema()


def prompt_hash() -> str:
    """12 hex digits that change when the instruction, the schema or the token limit does."""
    return content_id(INSTRUCTION, schema(), MAX_TOKENS)[:12]


def messages(image_url: str) -> list[dict[str, Any]]:
    """The conversation in the form of OpenAI's chat interface: the image, then the instruction."""
    image = {"type": "image_url", "image_url": {"url": image_url}}
    return [{"role": "user", "content": [image, {"type": "text", "text": INSTRUCTION}]}]


def read_answer(text: str, finish: str | None = None) -> Description:
    """The description in an answer.

    Args:
        text: what the model wrote.
        finish: why it stopped, `length` for the token limit.

    Raises:
        DataError: `truncated`, `not_json`, `schema`, `verdict_word` or `too_long`.
    """
    try:
        answer = json.loads(_object(text), strict=False)
    except ValueError as error:
        reason = "truncated" if finish == "length" else "not_json"
        raise DataError(reason, text[:80]) from error
    try:
        description = Description.model_validate(answer)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise DataError("schema", f"{where}: {first['msg']}") from error
    _check_words(description)
    return description


def _object(text: str) -> str:
    """The text from its first to its last brace: models wrap JSON in prose and fences."""
    return text[text.find("{") : text.rfind("}") + 1]


def _check_words(description: Description) -> None:
    said = leaks(" ".join(texts(description)))
    if said:
        raise DataError("verdict_word", ", ".join(said))
    for sentence in (description.face_sentence, description.environment_sentence):
        if (length := clip_length(sentence)) > CLIP_TOKENS:
            raise DataError("too_long", f"{length} tokens: {sentence[:60]}")


def texts(description: Description) -> list[str]:
    """Every text in a description."""
    attributes = (*description.face.model_dump().values(), *description.environment.model_dump().values())
    return [*attributes, description.face_sentence, description.environment_sentence]
