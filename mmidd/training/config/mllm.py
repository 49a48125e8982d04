"""Which multimodal language model a method builds on, and what is trained of it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mmidd.training.config.backbone import Frozen
from mmidd.training.config.llm import LlmLora, LlmShape


class MllmLora(LlmLora):
    """LoRA on the projections of one of the model's two towers, by the names that its own code gives them."""

    rank: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, ge=1)
    dropout: float = Field(default=0.05, ge=0, lt=1)


class VisionLora(MllmLora):
    """The same on the vision tower."""

    targets: Annotated[tuple[str, ...], Field(min_length=1)] = ("attn.qkv", "attn.proj")  # type: ignore[assignment]


class MllmShape(LlmShape):
    """Size of a small random Qwen2-VL, with a tokenizer made from the prompts' own wording.

    Attributes:
        vision_width: of the vision tower.
        vision_layers: likewise.
        patch_size: in pixels; two by two patches make a token.
    """

    vision_width: int = Field(ge=8)
    vision_layers: int = Field(ge=1)
    patch_size: int = Field(ge=1)


class Mllm(Frozen):
    """A model of images and text by `name`, or a small random one of a `shape`.

    Attributes:
        name: repository on the Hugging Face hub, or a folder in its layout.
        weights: `random` keeps the model's shape and processor alone.
        shape: in place of a name.
        image_size: side in pixels of what the model sees of a crop, so that all take as many tokens: of
            Qwen2.5-VL a multiple of 28.
        dtype: of frozen weights; what is trained is always float32.
        quantise: `4bit` (NF4) needs a CUDA device and the extra `bnb`.
        vision_lora: on the vision tower; none leaves it as it is.
        language_lora: on the language model; none leaves it as it is.
        place: special token of the model at which a specialist's token stands; its own embedding stays
            beneath.
    """

    name: str | None = None
    weights: Literal["pretrained", "random"] = "pretrained"
    shape: MllmShape | None = None
    image_size: int = Field(default=224, ge=16)
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    quantise: Literal["none", "4bit"] = "none"
    vision_lora: VisionLora | None = VisionLora()
    language_lora: MllmLora | None = MllmLora()
    place: str = "<|vision_pad|>"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.name is None) == (self.shape is None):
            raise ValueError("set either name or shape")
        if self.quantise == "4bit" and (self.shape or self.weights == "random"):
            raise ValueError("4-bit weights are those of a pretrained model")
        return self
