"""Which language model a method speaks through, and how it writes."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from mmidd.training.config.backbone import Frozen
from mmidd.training.config.methods import Lora


class LlmLora(Lora):
    """LoRA on projections of the language model, by the names that its own code gives them."""

    rank: int = Field(default=32, ge=1)
    targets: Annotated[tuple[str, ...], Field(min_length=1)] = (  # type: ignore[assignment]
        "q_proj",
        "k_proj",
        "v_proj",
        "o_proj",
    )


class LlmShape(Frozen):
    """Size of a small random LLaMA, with a tokenizer made from the dialogues' own wording."""

    width: int = Field(ge=8)
    layers: int = Field(ge=1)
    heads: int = Field(ge=1)
    vocabulary: int = Field(default=1024, ge=300)

    @model_validator(mode="after")
    def _even_heads(self) -> Self:
        if self.width % (2 * self.heads):
            raise ValueError(f"width must be a multiple of {2 * self.heads}, for {self.heads} even heads")
        return self


class Llm(Frozen):
    """A causal language model by `name`, or a small random one of a `shape`.

    Attributes:
        name: repository on the Hugging Face hub, or a folder in its layout.
        weights: `random` keeps the model's shape and tokenizer alone.
        shape: in place of a name.
        dtype: of frozen weights; what is trained is always float32.
        quantise: `4bit` (NF4) needs a CUDA device and the extra `bnb`.
        tune: what learns of it: LoRA, all, or nothing, as in a row of the paper's Table 4.
        lora: with `tune: lora`.
        context: longest training dialogue in tokens; longer ones lose their last turns.
    """

    name: str | None = None
    weights: Literal["pretrained", "random"] = "pretrained"
    shape: LlmShape | None = None
    dtype: Literal["bfloat16", "float32"] = "bfloat16"
    quantise: Literal["none", "4bit"] = "none"
    tune: Literal["lora", "all", "none"] = "lora"
    lora: LlmLora = LlmLora()
    context: int = Field(default=1024, ge=16)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.name is None) == (self.shape is None):
            raise ValueError("set either name or shape")
        if self.quantise == "4bit" and (self.tune == "all" or self.shape or self.weights == "random"):
            raise ValueError(
                "4-bit weights are those of a pretrained model and stay frozen; tune lora or none"
            )
        if self.tune == "all" and self.dtype != "float32":
            raise ValueError("weights that are all trained are float32; set dtype to float32")
        return self


class Generation(Frozen):
    """How answers are written: greedily, or sampled as in the release (top_p 0.1, temperature 1)."""

    max_new_tokens: int = Field(default=512, ge=1)
    sample: bool = False
    top_p: float = Field(default=0.1, gt=0, le=1)
    temperature: float = Field(default=1.0, gt=0)
