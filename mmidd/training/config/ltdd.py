"""Settings of LTDD's first stage: a specialist's features beside a multimodal language model's own."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from mmidd.training.config.backbone import Backbone, Frozen
from mmidd.training.config.base import TrainConfig
from mmidd.training.config.llm import Generation
from mmidd.training.config.mllm import Mllm

AUTO = "auto"


class Questions(Frozen):
    """What the model is asked; which of the two says whether it is to explain.

    Attributes:
        direct: for the verdict alone.
        explain: for what can be seen, then the verdict.
        specialist: leads to the specialist's tokens, which stand between image and question.
    """

    direct: str = (
        "Is the face in this picture real or fake? Reply with <answer>Real</answer> or <answer>Fake</answer> "
        "and nothing else."
    )
    explain: str = (
        "Is the face in this picture real or fake? First describe within <think> </think> what you see that "
        "speaks for either: skin, eyes, mouth, hair, the face's edges, light and shadow. Then reply with "
        "<answer>Real</answer> or <answer>Fake</answer>."
    )
    specialist: str = "What a forensic detector sees:"


class LtddConfig(TrainConfig):
    """LTDD (arXiv 2605.31192), stage 1: binary alignment. Its paper leaves most of this open.

    Attributes:
        backbone: an encoder as the specialist, in place of a run.
        specialist: run of a detector, which stays frozen: a name in the workspace, a folder or a weights
            file; `auto` is the workspace's only one, none is no specialist at all.
        mllm: the generalist.
        grid: the specialist's patches are averaged to a grid of so many rows and columns, each a token
            behind that of the whole image; 0 leaves these out.
        questions: see there.
        closing: weight of the cross-entropy of what follows the verdict, beside that of the verdict.
        generation: how explanations are written.
        chains: explanations that `vote` takes the mean of, sampled at temperature 1.
    """

    method: Literal["ltdd"] = "ltdd"
    backbone: Backbone | None = None  # type: ignore[assignment]
    specialist: str | None = AUTO
    mllm: Mllm
    grid: int = Field(default=4, ge=0)
    questions: Questions = Questions()
    closing: float = Field(default=1.0, ge=0)
    generation: Generation = Generation(max_new_tokens=256)
    chains: int = Field(default=5, ge=1)

    builds_on: ClassVar[str | None] = "specialist"

    @property
    def normalises_over_the_batch(self) -> bool:
        """Nothing that is trained does."""
        return False

    def loads(self) -> list[tuple[str, str]]:
        """The generalist, and the specialist where it is an encoder."""
        encoder = (
            [(self.backbone.name, str(self.backbone.weights))] if self.backbone and self.backbone.name else []
        )
        return [*encoder, *([(self.mllm.name, self.mllm.weights)] if self.mllm.name else [])]

    def beside(self, runs: Path) -> Self:
        """See `TrainConfig.beside`."""
        if self.specialist is None or Path(self.specialist).exists():
            return self
        other = runs / Path(self.specialist).name
        return self.model_copy(update={"specialist": str(other)}) if other.exists() else self

    @model_validator(mode="after")
    def _one_specialist(self) -> Self:
        if self.backbone and self.specialist not in (None, AUTO):
            raise ValueError("set either backbone or specialist")
        return self
