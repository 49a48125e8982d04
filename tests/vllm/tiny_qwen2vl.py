"""A complete Qwen2-VL checkpoint with random weights, small enough to write and to run in seconds.

The files are those of the published checkpoints, so that transformers and vLLM load them unchanged. What
the model says is noise; that it reads the picture, counts tokens and obeys a grammar is not.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import Qwen2VLConfig, Qwen2VLForConditionalGeneration

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|object_ref_start|>",
    "<|object_ref_end|>",
    "<|box_start|>",
    "<|box_end|>",
    "<|quad_start|>",
    "<|quad_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
PATCH = 14
MERGE = 2

_WORDS = 1000
_ENDINGS = (".", '"')
_PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_SENTENCES = (
    "A woman in her thirties with long brown hair smiles softly and looks straight at the camera.",
    "A man in his fifties with short grey hair and a trimmed beard turns his head slightly to the left.",
    "The young person wears round glasses and a dark hat, with freckled skin and an open, laughing mouth.",
    "Soft light falls from one side onto a plain beige backdrop, and the picture is sharp and evenly lit.",
    "Behind the face stand green trees and a blue sky; hard daylight leaves deep shadows under the eyes.",
    "An older person with wrinkled skin and white hair looks down in a dim room with warm yellow lamps.",
    '{"face":{"age_range":"60 or older","gender_presentation":"feminine","expression":"surprised",',
    '"pose":"profile left","hair":"curly","skin_tone":"very light","skin_texture":"wrinkled",',
    '"accessories":"earrings","occlusion":"none"},"environment":{"scene":"plain backdrop",',
    '"background":"a wall","lighting":"from one side","colour":"yellow","image_quality":"slightly soft"},',
    '"face_sentence":"A face.","environment_sentence":"A room."}',
    "Describe the age, the expression, the hair, the skin, the accessories, the scene and the lighting.",
    "You are a helpful assistant.",
)
_CHAT_TEMPLATE = """\
{%- for message in messages -%}
{%- if loop.first and message.role != 'system' -%}
{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
{%- endif -%}
{{ '<|im_start|>' + message.role + '\\n' }}
{%- if message.content is string -%}
{{ message.content }}
{%- else -%}
{%- for part in message.content -%}
{%- if part.type in ('image', 'image_url') or 'image' in part or 'image_url' in part -%}
{{ '<|vision_start|><|image_pad|><|vision_end|>' }}
{%- elif part.type == 'video' or 'video' in part -%}
{{ '<|vision_start|><|video_pad|><|vision_end|>' }}
{%- elif 'text' in part -%}
{{ part.text }}
{%- endif -%}
{%- endfor -%}
{%- endif -%}
{{ '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{ '<|im_start|>assistant\\n' }}
{%- endif -%}
"""


@dataclass(frozen=True)
class Shape:
    """Sizes of the two towers; those of the published checkpoints are from their config.json.

    Attributes:
        hidden, layers, heads, key_heads, intermediate: of the language model.
        sections: of its rotary embedding: time, height, width; half a head in all.
        vision: width of the image tower, and its depth and heads.
        vocabulary: rows of the embedding; None for as many as the tokenizer knows.
    """

    hidden: int = 128
    layers: int = 2
    heads: int = 2
    key_heads: int = 1
    intermediate: int = 256
    sections: tuple[int, int, int] = (8, 12, 12)
    vision: tuple[int, int, int] = (128, 2, 2)
    vision_ratio: int = 2
    vocabulary: int | None = None
    dtype: str = "float32"


TINY = Shape()
QWEN2_VL_2B = Shape(1536, 28, 12, 2, 8960, (16, 24, 24), (1280, 32, 16), 4, 151936, "bfloat16")
QWEN2_VL_7B = Shape(3584, 28, 28, 4, 18944, (16, 24, 24), (1280, 32, 16), 4, 152064, "bfloat16")


def write_checkpoint(folder: Path, seed: int = 0, shape: Shape = TINY) -> Path:
    """Write the checkpoint into `folder`, the same bytes for the same seed, and return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    ids = {token: _id(tokenizer, token) for token in SPECIAL_TOKENS}
    config = _config(shape, shape.vocabulary or tokenizer.get_vocab_size(), ids)
    _write_json(folder / "config.json", config)
    _write_weights(folder, tokenizer, seed, shape.dtype)
    _write_json(folder / "config.json", config)  # save_pretrained rewrites it in its own version's form
    _write_json(folder / "generation_config.json", _generation_config(ids))
    _write_json(folder / "tokenizer_config.json", _tokenizer_config())
    _write_json(folder / "preprocessor_config.json", _preprocessor_config())
    _write_json(folder / "chat_template.json", {"chat_template": _CHAT_TEMPLATE})
    return folder


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def _tokenizer() -> Tokenizer:
    """Byte-level BPE that knows all 256 bytes, so that it can write any text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=_WORDS,
        min_frequency=1,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_SENTENCES, trainer)
    tokenizer.add_special_tokens(
        [AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS]
    )
    return tokenizer


def _id(tokenizer: Tokenizer, token: str) -> int:
    found = tokenizer.token_to_id(token)
    if found is None:
        raise ValueError(f"the vocabulary lacks {token}")
    return found


def _config(shape: Shape, vocabulary: int, ids: dict[str, int]) -> dict[str, object]:
    return {
        "architectures": ["Qwen2VLForConditionalGeneration"],
        "model_type": "qwen2_vl",
        "attention_dropout": 0.0,
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
        "vision_start_token_id": ids["<|vision_start|>"],
        "vision_end_token_id": ids["<|vision_end|>"],
        "vision_token_id": ids["<|vision_pad|>"],
        "image_token_id": ids["<|image_pad|>"],
        "video_token_id": ids["<|video_pad|>"],
        "hidden_act": "silu",
        "hidden_size": shape.hidden,
        "initializer_range": 0.15,
        "intermediate_size": shape.intermediate,
        "max_position_embeddings": 4096,
        "max_window_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_hidden_layers": shape.layers,
        "num_key_value_heads": shape.key_heads,
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0,
        "rope_scaling": {"type": "mrope", "mrope_section": list(shape.sections)},
        "sliding_window": 4096,
        "tie_word_embeddings": False,
        "torch_dtype": shape.dtype,
        "use_cache": True,
        "use_sliding_window": False,
        "vision_config": {
            "depth": shape.vision[1],
            "embed_dim": shape.vision[0],
            "hidden_size": shape.hidden,
            "in_chans": 3,
            "initializer_range": 0.15,
            "mlp_ratio": shape.vision_ratio,
            "model_type": "qwen2_vl",
            "num_heads": shape.vision[2],
            "patch_size": PATCH,
            "spatial_merge_size": MERGE,
            "spatial_patch_size": PATCH,
            "temporal_patch_size": 2,
        },
        "vocab_size": vocabulary,
    }


def _write_weights(folder: Path, tokenizer: Tokenizer, seed: int, dtype: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = Qwen2VLConfig.from_pretrained(folder)
        model = Qwen2VLForConditionalGeneration(config).to(getattr(torch, dtype))
    with torch.no_grad():
        model.lm_head.weight.mul_(_loudness(tokenizer, len(model.lm_head.weight)))
    model.save_pretrained(folder)


def _loudness(tokenizer: Tokenizer, rows: int) -> torch.Tensor:
    """A factor for each token's output row, so that noise has words in it and strings come to an end.

    The wider a token's scores are spread, the likelier it is drawn: lone bytes are rare, the tokens that
    end a sentence and a JSON string are common.
    """
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    factors = torch.ones(rows, 1)
    factors[[_id(tokenizer, letter) for letter in alphabet]] = 0.1
    factors[[_id(tokenizer, mark) for mark in _ENDINGS]] = 2.5
    return factors


def _generation_config(ids: dict[str, int]) -> dict[str, object]:
    return {
        "bos_token_id": ids["<|endoftext|>"],
        "pad_token_id": ids["<|endoftext|>"],
        "do_sample": True,
        "eos_token_id": [ids["<|im_end|>"], ids["<|endoftext|>"]],
        "temperature": 1.0,
        "top_p": 1.0,
        "top_k": 0,
    }


def _tokenizer_config() -> dict[str, object]:
    return {
        "tokenizer_class": "Qwen2Tokenizer",
        "add_prefix_space": False,
        "additional_special_tokens": list(SPECIAL_TOKENS[1:]),
        "bos_token": None,
        "chat_template": _CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "model_max_length": 4096,
        "pad_token": "<|endoftext|>",
        "split_special_tokens": False,
        "unk_token": None,
    }


def _preprocessor_config() -> dict[str, object]:
    return {
        "min_pixels": (2 * MERGE * PATCH) ** 2,
        "max_pixels": 1280 * (MERGE * PATCH) ** 2,
        "patch_size": PATCH,
        "temporal_patch_size": 2,
        "merge_size": MERGE,
        "image_mean": [0.48145466, 0.4578275, 0.40821073],
        "image_std": [0.26862954, 0.26130258, 0.27577711],
        "image_processor_type": "Qwen2VLImageProcessor",
        "processor_class": "Qwen2VLProcessor",
    }
