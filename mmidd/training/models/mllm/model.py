"""Multimodal language models of transformers, with an entrance for a specialist's tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from mmidd.errors import UsageError
from mmidd.training.config.llm import Generation
from mmidd.training.config.mllm import Mllm, MllmLora
from mmidd.training.models.clip import add_lora
from mmidd.training.models.digest import digest
from mmidd.training.models.llm.language import four_bits
from mmidd.training.models.mllm.inputs import Inputs
from mmidd.training.models.mllm.tiny import tiny_model, tiny_processor
from mmidd.training.models.weights import obtainable, seeded

_hf: Any = transformers
_ADVICE = "pass a local folder: --set mllm.name=FOLDER"
_TOKENS = ("input_ids", "attention_mask", "mm_token_type_ids")


class Generalist(nn.Module):
    """A model of images and text.

    A specialist's tokens are added to the embeddings at `place`s of a prompt, so that tokens of zeros leave
    the model as it is; images, positions and the cache stay the model's own business.

    Args:
        model: of transformers.
        processor: likewise, of the same model.
        image_size: side in pixels to which images are brought.
        place: special token that stands for a specialist's token.

    Raises:
        UsageError: the tokenizer lacks that token, or the processor makes no prompts of images.
    """

    def __init__(self, model: Any, processor: Any, image_size: int, place: str) -> None:
        super().__init__()
        self.model, self.processor, self.tokenizer = model, processor, processor.tokenizer
        self.image_size = image_size
        _pin(processor.image_processor, image_size)
        self.width = int(model.get_input_embeddings().weight.shape[1])
        self.context = int(model.config.get_text_config().max_position_embeddings)
        self.place = _token(self.tokenizer, place)
        self.ends = _ends(model, self.tokenizer)
        special = {*self.tokenizer.all_special_ids, self.place} - set(self.ends)
        self.unsaid = sorted(token for token in special if token is not None)
        self._shown: tuple[Tensor, Tensor] | None = None
        model.get_input_embeddings().register_forward_hook(self._show)

    def prompts(self, images: Sequence[Tensor], texts: Sequence[str]) -> Inputs:
        """A turn of the user's for each image, uint8 (3, H, W), and text, up to where the model answers."""
        made = self.processor(
            text=[self._turn(text) for text in texts],
            images=list(images),
            padding=True,
            padding_side="left",
            return_tensors="pt",
        )
        device = images[0].device
        if (length := made["input_ids"].shape[1]) >= self.context:
            raise UsageError(
                f"the question takes {length} tokens and the model {self.context}; ask a shorter one"
            )
        vision = {name: value.to(device) for name, value in made.items() if name not in _TOKENS}
        ids, mask = made["input_ids"].to(device), made["attention_mask"].to(device)
        kinds = made.get("mm_token_type_ids", torch.zeros_like(made["input_ids"])).to(device)
        return Inputs(ids, mask, kinds, vision)

    def forward(self, inputs: Inputs, tokens: Tensor, keep: int) -> Tensor:
        """Logits (B, keep, vocabulary) of the last positions, float32; of what is never said, -inf.

        `tokens` (B, K, width) are the specialist's.
        """
        with self._showing(inputs, tokens):
            logits: Tensor = self.model(**_arguments(inputs), use_cache=False, logits_to_keep=keep).logits
        return logits.float().index_fill(2, self._tensor(self.unsaid), -torch.inf)

    def last_state(self, inputs: Inputs, tokens: Tensor) -> Tensor:
        """What the logits of the last position are read from, (B, width)."""
        with self._showing(inputs, tokens):
            found = self.model(
                **_arguments(inputs), use_cache=False, logits_to_keep=1, output_hidden_states=True
            )
        last: Tensor = found.hidden_states[-1][:, -1]
        return last

    @torch.no_grad()
    def write(self, inputs: Inputs, tokens: Tensor, how: Generation) -> list[list[int]]:
        """What the model says to each prompt, without what ends it; see `forward`."""
        drawn = {"temperature": how.temperature, "top_p": how.top_p, "top_k": 0} if how.sample else {}
        options: Any = _hf.GenerationConfig
        config = options(
            max_new_tokens=max(1, min(how.max_new_tokens, self.context - inputs.ids.shape[1])),
            do_sample=how.sample,
            pad_token_id=self.ends[0],
            eos_token_id=self.ends,
            suppress_tokens=self.unsaid,
            **drawn,
        )
        with self._showing(inputs, tokens):
            rows = self.model.generate(**_arguments(inputs), generation_config=config)
        return [self._said(row) for row in rows[:, inputs.ids.shape[1] :].tolist()]

    def encode(self, text: str) -> list[int]:
        """Tokens of plain text, in which no special token is recognised."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
        return ids

    def decode(self, tokens: Sequence[int]) -> str:
        """Their text, without special tokens."""
        text: str = self.tokenizer.decode(list(tokens), skip_special_tokens=True)
        return text

    def digest(self) -> str:
        """Of the model's own weights, without LoRA; see `models.digest`."""
        return digest(
            {n.replace(".base_layer", ""): x for n, x in self.model.state_dict().items() if ".lora_" not in n}
        )

    def blocks(self) -> list[nn.Module]:
        """Transformer layers of both towers."""
        towers = (self.model.get_encoder("image"), self.model.get_decoder())
        return [block for tower in towers for block in _layers(tower)]

    def _turn(self, text: str) -> str:
        message = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": text}]}
        turn: str = self.processor.apply_chat_template([message], add_generation_prompt=True, tokenize=False)
        return turn

    def _said(self, row: list[int]) -> list[int]:
        ends = [place for place, token in enumerate(row) if token in self.ends]
        return row[: ends[0] + 1] if ends else row

    @contextmanager
    def _showing(self, inputs: Inputs, tokens: Tensor) -> Iterator[None]:
        self._shown = (inputs.ids == self.place, tokens)
        try:
            yield
        finally:
            self._shown = None

    def _show(self, _module: nn.Module, arguments: tuple[Tensor, ...], embedded: Tensor) -> Tensor | None:
        """Adds the tokens where whole prompts are embedded, not where they are cached."""
        if self._shown is None or arguments[0].shape != self._shown[0].shape or not self._shown[1].numel():
            return None
        places, tokens = self._shown
        return embedded + torch.zeros_like(embedded).masked_scatter(
            places[..., None], tokens.to(embedded.dtype)
        )

    def _tensor(self, numbers: Sequence[int]) -> Tensor:
        return torch.tensor(numbers, device=self.model.device)


def load_generalist(config: Mllm, seed: int) -> Generalist:
    """The model of a configuration, of which only LoRA requires gradients.

    Raises:
        UsageError: weights or processor that cannot be had, another kind of model, or no such projections.
        MissingExtra: 4-bit weights without bitsandbytes.
    """
    with obtainable(f"the multimodal model {config.name}", _ADVICE), seeded(seed):
        generalist = Generalist(_model(config).eval(), _processor(config), config.image_size, config.place)
    generalist.model.generation_config = _hf.GenerationConfig()
    generalist.requires_grad_(False)
    _adapt(generalist.model.get_encoder("image"), config.vision_lora, "vision_lora", seed)
    _adapt(generalist.model.get_decoder(), config.language_lora, "language_lora", seed)
    return generalist


def _model(config: Mllm) -> Any:
    dtype: torch.dtype = getattr(torch, config.dtype)
    if config.shape:
        return tiny_model(config.shape).to(dtype)
    if config.weights == "random":
        shape = _hf.AutoConfig.from_pretrained(config.name)
        return _hf.AutoModelForImageTextToText.from_config(shape, dtype=dtype)
    extra = {"quantization_config": four_bits()} if config.quantise == "4bit" else {}
    return _hf.AutoModelForImageTextToText.from_pretrained(config.name, dtype=dtype, **extra)


def _processor(config: Mllm) -> Any:
    return tiny_processor(config.shape) if config.shape else _hf.AutoProcessor.from_pretrained(config.name)


def _adapt(tower: nn.Module, lora: MllmLora | None, name: str, seed: int) -> None:
    if lora is None:
        return
    try:
        add_lora(tower, lora, seed)
    except ValueError as error:
        raise UsageError(
            f"the model has none of mllm.{name}.targets ({error}); name its projections"
        ) from error
    for parameter in tower.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def _arguments(inputs: Inputs) -> dict[str, Tensor]:
    tokens = {"input_ids": inputs.ids, "attention_mask": inputs.mask, "mm_token_type_ids": inputs.kinds}
    return {**tokens, **inputs.vision}


def _pin(image_processor: Any, side: int) -> None:
    """Have images take as many pixels as a square of that side, where their number is free."""
    if {"shortest_edge", "longest_edge"} <= {*dict(image_processor.size)}:
        image_processor.size = {"shortest_edge": side**2, "longest_edge": side**2}


def _token(tokenizer: Any, text: str) -> int:
    found = tokenizer.convert_tokens_to_ids(text)
    if found is None or found == tokenizer.unk_token_id:
        raise UsageError(
            f"the tokenizer has no token {text!r}; name one of its special tokens: --set mllm.place="
        )
    return int(found)


def _ends(model: Any, tokenizer: Any) -> list[int]:
    """Tokens that end an answer: of the tokenizer and of the model's own settings."""
    own = model.generation_config.eos_token_id
    listed = own if isinstance(own, list) else [own]
    return list(dict.fromkeys(token for token in (tokenizer.eos_token_id, *listed) if token is not None))


def _layers(tower: nn.Module) -> list[nn.Module]:
    lists = [list(module) for module in tower.modules() if isinstance(module, nn.ModuleList)]
    return max(lists, key=len, default=[])
