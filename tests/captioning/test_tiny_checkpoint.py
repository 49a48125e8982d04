"""The tiny Qwen2-VL checkpoint in transformers: it loads as a published one does, and it sees."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from tests.vllm.tiny_qwen2vl import SPECIAL_TOKENS, write_checkpoint


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("tiny") / "qwen2-vl")


@pytest.fixture(scope="module")
def processor(checkpoint: Path) -> Any:
    return AutoProcessor.from_pretrained(checkpoint, local_files_only=True)  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def model(checkpoint: Path) -> Any:
    return AutoModelForImageTextToText.from_pretrained(checkpoint, local_files_only=True)


def prompt(processor: Any, colour: str) -> Any:
    picture = Image.new("RGB", (112, 112), colour)
    content = [{"type": "image", "image": picture}, {"type": "text", "text": "Describe the hair."}]
    return processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )


def test_it_generates_from_a_picture(processor: Any, model: Any) -> None:
    inputs = prompt(processor, "red")
    assert int((inputs["input_ids"] == model.config.image_token_id).sum()) == 16
    tokens = model.generate(**inputs, do_sample=False, min_new_tokens=12, max_new_tokens=12)
    assert tokens.shape[1] == inputs["input_ids"].shape[1] + 12


def test_what_it_says_depends_on_the_picture(processor: Any, model: Any) -> None:
    with torch.inference_mode():
        red, again, blue = (
            model(**prompt(processor, colour)).logits[0, -1] for colour in ("red", "red", "blue")
        )
    torch.testing.assert_close(red, again)
    assert float((red - blue).abs().max()) > 0.1


def test_its_tokenizer_writes_any_text(processor: Any) -> None:
    tokenizer = processor.tokenizer
    text = '{"hair": "façade 漢字 😀\\u0007"}\n\t' + "".join(map(chr, range(256)))
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_special_tokens_are_single_tokens_that_text_leaves_out(processor: Any) -> None:
    tokenizer = processor.tokenizer
    ids = tokenizer.encode("".join(SPECIAL_TOKENS))
    assert tokenizer.convert_ids_to_tokens(ids) == list(SPECIAL_TOKENS)
    assert tokenizer.decode(ids, skip_special_tokens=True) == ""


def test_the_same_seed_makes_the_same_weights(checkpoint: Path, tmp_path: Path) -> None:
    weights = "model.safetensors"
    assert (write_checkpoint(tmp_path / "a") / weights).read_bytes() == (checkpoint / weights).read_bytes()
    assert (write_checkpoint(tmp_path / "b", 1) / weights).read_bytes() != (checkpoint / weights).read_bytes()
