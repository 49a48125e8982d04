"""Other multimodal models than the tiny one, from folders in the hub's layout, with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from mmidd.training.config.mllm import MllmShape
from mmidd.training.models.mllm.tiny import tiny_model, tiny_processor
from mmidd.training.tasks.ltdd import Ltdd
from tests.training.ltdd_world import SHAPE, learn, ltdd_config, pictures

_hf: Any = transformers
SMALL = MllmShape.model_validate({**SHAPE, "patch_size": 8})
TEXT = {
    "vocab_size": 420,
    "hidden_size": 48,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [4, 4, 4]},
}
VISION = {
    "depth": 2,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_heads": 2,
    "patch_size": 8,
    "out_hidden_size": 48,
}
WINDOWS = {"window_size": 32, "fullatt_block_indexes": [1]}
STACK = {"num_position_embeddings": 64, "deepstack_visual_indexes": [0]}


def checkpoint(folder: Path, family: str) -> Path:
    """Model and processor of a family, as they would be downloaded."""
    processor = tiny_processor(SMALL)
    torch.manual_seed(0)
    if family == "Qwen2VL":
        model = tiny_model(SMALL)
    else:
        tokens = processor.tokenizer
        names = {"image_token": "image_pad", "video_token": "video_pad"}
        names |= {"vision_start_token": "vision_start", "vision_end_token": "vision_end"}
        config = getattr(_hf, f"{family}Config")(
            text_config={**TEXT, "eos_token_id": tokens.eos_token_id, "head_dim": 24},
            vision_config={**VISION, **(STACK if family == "Qwen3VL" else WINDOWS)},
            **{f"{key}_id": tokens.convert_tokens_to_ids(f"<|{name}|>") for key, name in names.items()},
        )
        model = getattr(_hf, f"{family}ForConditionalGeneration")(config)
        processor = getattr(_hf, f"{family}Processor")(
            image_processor=processor.image_processor,
            tokenizer=tokens,
            video_processor=processor.video_processor,
            chat_template=processor.chat_template,
        )
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("family", ["Qwen2VL", "Qwen2_5_VL", "Qwen3VL"])
def test_a_family_of_a_folder_learns_explains_and_is_told_from_another(family: str, tmp_path: Path) -> None:
    config = ltdd_config({"shape": None, "name": str(checkpoint(tmp_path, family))})
    task = Ltdd(config)
    assert len(task.blocks()) == 3 + (family != "Qwen2VL")
    towers = {name.split(".")[3] for name in task.learned() if name.startswith("generalist")}
    assert towers == {"visual", "language_model"}
    losses = [float(terms.total.detach()) for terms in learn(task, pictures(8), 15)]
    assert losses[-1] < losses[0] - 0.3
    images = pictures(4).images
    together = task.score(images).fake
    alone = np.concatenate([task.score(images[i : i + 1]).fake for i in range(4)])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert [len(chains) for chains in task.explain(images[:2], chains=2)] == [2, 2]
    assert Ltdd(config).references() == task.references()
