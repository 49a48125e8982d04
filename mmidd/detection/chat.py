"""A dialogue about one image with a run of KFD's second stage."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmidd.detection.media import media_of
from mmidd.detection.predictor import MEMORY_LIMIT, TIME_LIMIT
from mmidd.dialogue.conversation import Message, fill_score
from mmidd.dialogue.opening import opening
from mmidd.engine.pool import Guard
from mmidd.errors import DataError, UsageError
from mmidd.files import renamed, write_errors
from mmidd.preprocess.crop import decode_image
from mmidd.preprocess.extract import Extracted, extract
from mmidd.schema import Media
from mmidd.spec import PreprocessSpec
from mmidd.training.tasks.kfd_llm import Answer, KfdLlm
from mmidd.training.trained import Run, load_run


@dataclass
class Chat:
    """Questions about one face crop, each answered in the context of those before.

    Args:
        task: the second stage.
        crop: RGB (H, W, 3), made as the run's crops were.
        image: where it comes from.

    Attributes:
        messages: what was said.
        verdict: P(yes) of the plain question whether it is a deepfake.
    """

    task: KfdLlm
    crop: NDArray[np.uint8]
    image: Path
    messages: list[Message] = field(default_factory=list)

    def __post_init__(self) -> None:
        images = self.task.prepare([self.crop])
        self._evidence = self.task.evidence(images)
        self.verdict = float(self.task.score(images).fake[0])

    @property
    def score(self) -> float:
        """The detector's P(fake)."""
        return float(self._evidence.scores[0, 1])

    def ask(self, question: str, listener: Callable[[str], object] | None = None) -> Answer:
        """The answer, which `listener` is given as it is written; both are remembered.

        Raises:
            UsageError: the dialogue with this question is longer than the context; it is not remembered.
        """
        asked: Message = {"from": "human", "value": question} if self.messages else opening(question)
        (answer,) = self.task.answer(self._evidence, [[*self.messages, asked]], listener)
        self.messages += [asked, {"from": "gpt", "value": answer.text}]
        return answer

    def save(self, file: Path) -> None:
        """Write the dialogue so far as a list of one record in LLaVA's format, with the score in its place.

        Raises:
            StorageError: it cannot be written.
        """
        said = fill_score(self.messages, self.score)
        record = {"id": file.stem, "image": str(self.image), "score": self.score, "conversations": said}
        with write_errors(file, "free space, or choose another file with --save"):
            file.parent.mkdir(parents=True, exist_ok=True)
            with renamed(file.parent, file.name) as partial:
                partial.write_text(
                    json.dumps([record], indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
                )


def open_chat(image: Path, run_dir: Path, device: str = "cpu") -> Chat:
    """A chat about the face of an image.

    Raises:
        UsageError: the run is none of the second stage, or the image has no face or cannot be read.
    """
    run = load_run(run_dir, device)
    return Chat(_second_stage(run, run_dir), face_crop(image, run.spec), image)


def face_crop(image: Path, spec: PreprocessSpec) -> NDArray[np.uint8]:
    """The face of an image file as RGB (H, W, 3), cropped as in training.

    Raises:
        UsageError: it is no image, cannot be read, or has no face.
    """
    try:
        if media_of(image) is not Media.IMAGE:
            raise UsageError(f"{image} is a video; pass an image, such as one of its frames")
        with Guard(time_limit=TIME_LIMIT, memory_limit=MEMORY_LIMIT) as guard:
            found = guard.call(_extract, image, spec)
    except DataError as error:
        raise UsageError(f"{image}: {error}; pass another image") from error
    if found.blob is None:
        raise UsageError(f"{image} has no face to talk about ({found.reason}); pass an image with one")
    return decode_image(found.blob)


def _extract(image: Path, spec: PreprocessSpec) -> Extracted:
    (found,) = extract(image, Media.IMAGE, spec)
    return found


def _second_stage(run: Run, run_dir: Path) -> KfdLlm:
    task: Any = run.task
    if not isinstance(task, KfdLlm):
        raise UsageError(
            f"{run_dir} is a run of {run.method} and cannot talk; pass one of `mmidd train kfd --stage llm`"
        )
    return task
