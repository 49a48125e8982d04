"""Settings of KFD's second stage: a language model that is shown the detector's evidence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from mmidd.schema import Simulated
from mmidd.training.config.backbone import Frozen
from mmidd.training.config.base import TrainConfig
from mmidd.training.config.kfd import KfdConfig
from mmidd.training.config.llm import Generation, Llm

_LAST_KERNEL = 5


class Prompt(Frozen):
    """The Forgery Prompt Learner (section 3.2); defaults are the release's.

    Attributes:
        tokens: forgery tokens that the language model is shown.
        base_tokens: learned tokens that depend on no picture.
        channels: of the convolutions before the last one; each but the last halves the map.
        side: of the maps in pixels; others are resized to it.
        norm: `group` keeps micro-batches independent of each other, `batch` is the release's.
    """

    tokens: int = Field(default=9, ge=1)
    base_tokens: int = Field(default=9, ge=1)
    channels: Annotated[tuple[int, ...], Field(min_length=1)] = (16, 32, 64, 128, 256, 512)
    side: int = Field(default=224, ge=_LAST_KERNEL)
    norm: Literal["batch", "group"] = "batch"

    @property
    def tokens_per_map(self) -> int:
        """What either convolutional network makes of its maps."""
        side = self.side >> (len(self.channels) - 1)
        return max(0, side - _LAST_KERNEL + 1) ** 2

    @model_validator(mode="after")
    def _large_enough(self) -> Self:
        if not self.tokens_per_map:
            least = _LAST_KERNEL << (len(self.channels) - 1)
            raise ValueError(f"side must be at least {least} for {len(self.channels)} channels")
        return self


def _of_llava(file: Path) -> Path:
    if not file.name.endswith((".json", ".jsonl")):
        raise ValueError(f"{file} is no .json or .jsonl file in LLaVA's format")
    return file


class InstructionSet(Frozen):
    """General dialogues in LLaVA's format, which keep the ability to talk.

    Attributes:
        file: JSON list, or one JSON object a line, of {id, image?, conversations}.
        images: folder that the images' paths start from.
    """

    file: Annotated[Path, AfterValidator(_of_llava)]
    images: Path | None = None


class KfdLlmConfig(TrainConfig):
    """KFD's second stage (arXiv 2503.14853, section 3.2).

    Attributes:
        backbone: none; the detector brings its encoder.
        detector: run of the first stage, which stays frozen: a name in the workspace, a folder, or a weights
            file; none is the workspace's only one.
        first_stage: configuration of that run, taken from it when the run begins.
        order: of the prompt's parts: the paper's figure puts the forgery tokens right behind the image, the
            release puts the score between them.
        drop_score: share of training dialogues without the score sentence, for grounding by tokens alone.
        instructions: general dialogues; every batch of forgeries is followed by one of these.
        verdict: how a written answer is read: by its first word, or by the release's keywords.
        generation: how answers are written.
    """

    method: Literal["kfd-llm"] = "kfd-llm"
    backbone: None = None  # type: ignore[assignment]
    detector: str | None = None
    first_stage: KfdConfig | None = None
    llm: Llm
    prompt: Prompt = Prompt()
    order: Literal["paper", "release"] = "paper"
    drop_score: float = Field(default=0.0, ge=0, le=1)
    instructions: InstructionSet | None = None
    verdict: Literal["first_word", "release"] = "first_word"
    generation: Generation = Generation()

    builds_on: ClassVar[str | None] = "detector"

    @property
    def normalises_over_the_batch(self) -> bool:
        """Whether the prompt learner has batch normalisation."""
        return self.prompt.norm == "batch"

    def loads(self) -> list[tuple[str, str]]:
        """The detector's encoder and the language model."""
        llm = [(self.llm.name, self.llm.weights)] if self.llm.name else []
        return [*(self.first_stage.loads() if self.first_stage else []), *llm]

    @model_validator(mode="after")
    def _whole_batch(self) -> Self:
        if self.normalises_over_the_batch and self.micro_batch < self.batch:
            raise ValueError(
                "the prompt learner normalises over the batch; set prompt.norm to group, "
                "or micro_batch to batch"
            )
        return self

    @model_validator(mode="after")
    def _true_dialogues(self) -> Self:
        if not self.online and self.simulated is not Simulated.ONLY:
            raise ValueError("dialogues are about simulated forgeries; set online, or simulated to only")
        if self.augment.hflip_p or self.augment.affine_p:
            raise ValueError("answers name sides and places; set augment.hflip_p and augment.affine_p to 0")
        return self
