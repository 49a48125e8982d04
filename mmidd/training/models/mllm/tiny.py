"""A small Qwen2-VL from random weights, with a processor made from the prompts' own wording."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from mmidd.dialogue.templates import templates
from mmidd.schema import Label
from mmidd.training.config.ltdd import Questions
from mmidd.training.config.mllm import MllmShape
from mmidd.training.rl.chain import written

_hf: Any = transformers
_END, _TURN, _TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
_VISION = ("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>")
_MERGE, _HEAD = 2, 4
_CONTEXT = 1024
_SPREAD = 0.15  # of frozen weights: with the usual 0.02 no word could ever be much likelier than another
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def tiny_model(shape: MllmShape) -> Any:
    """A Qwen2-VL of the size, with random weights from torch's generator."""
    tokenizer, half = _tokenizer(shape.vocabulary), shape.width // shape.heads // 2
    ids = {name: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in ("vision_start", "vision_end")}
    pads = {name: tokenizer.convert_tokens_to_ids(f"<|{name}_pad|>") for name in ("image", "video")}
    text = {
        "vocab_size": shape.vocabulary,
        "hidden_size": shape.width,
        "intermediate_size": 8 * shape.width // 3,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "max_position_embeddings": _CONTEXT,
        "rope_parameters": {
            "rope_type": "default",
            "rope_theta": 10000.0,
            "mrope_section": [half - 2 * (half // 3), half // 3, half // 3],
        },
        "bos_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "tie_word_embeddings": False,
        "initializer_range": _SPREAD,
    }
    vision = {
        "depth": shape.vision_layers,
        "embed_dim": shape.vision_width,
        "hidden_size": shape.width,
        "num_heads": _HEAD,
        "mlp_ratio": 2,
        "patch_size": shape.patch_size,
        "spatial_merge_size": _MERGE,
        "initializer_range": _SPREAD,
    }
    config = _hf.Qwen2VLConfig(
        text_config=text,
        vision_config=vision,
        tie_word_embeddings=False,
        **{f"{name}_token_id": number for name, number in (ids | pads).items()},
    )
    return _hf.Qwen2VLForConditionalGeneration(config)


def tiny_processor(shape: MllmShape) -> Any:
    """What makes the model's input of images and text."""
    return _hf.Qwen2VLProcessor(
        image_processor=_hf.Qwen2VLImageProcessor(patch_size=shape.patch_size, merge_size=_MERGE),
        tokenizer=_tokenizer(shape.vocabulary),
        video_processor=_hf.Qwen2VLVideoProcessor(),
        chat_template=_TEMPLATE,
    )


@cache
def _tokenizer(vocabulary: int) -> Any:
    """Byte pairs of what is asked and answered, so that any text can be written; at most `vocabulary`."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[_END, _TURN, _TURN_END, *_VISION],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(list(_wording()), trainer)
    return _hf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=_TURN_END,
        pad_token=_END,
        additional_special_tokens=list(_VISION),
    )


def _wording() -> Iterator[str]:
    text, asked = templates(), Questions()
    for _ in range(8):
        yield from (written(label) for label in Label)
        yield from ("user\n", "assistant\n", asked.direct, asked.explain, asked.specialist)
    yield from text.regions.values()
    yield from (line for group in (text.traces, text.consistent) for one in group.values() for line in one)
