from __future__ import annotations

from typing import Any

import pytest
import torch

from mmidd.errors import UsageError
from mmidd.training.accumulate import accumulate
from mmidd.training.config import TrainConfig
from mmidd.training.parallel import open_fabric, place
from mmidd.training.tasks import build_task
from mmidd.training.tasks.base import Task
from tests.training.training_world import random_batch, small_config


def placed(config: TrainConfig) -> Task[Any]:
    task = build_task(config).train()
    place(task, config, open_fabric(config))
    return task


def gradients(task: Task[Any]) -> dict[str, torch.Tensor]:
    accumulate(task, task, random_batch(6, 32), 6, seed=3, backward=torch.Tensor.backward)
    return {name: p.grad for name, p in task.trainable().items() if p.grad is not None}


@pytest.mark.parametrize("method", ["lnclip", "sd2"])
def test_blocks_that_are_computed_again_give_the_same_gradient(method: str) -> None:
    lora = ["trainable=lora", "lora.dropout=0.5"] if method == "sd2" else []
    plain = placed(small_config(method, *lora))
    again = placed(small_config(method, *lora, "gradient_checkpointing=true"))
    calls: list[int] = []
    for number, block in enumerate(again.blocks()):
        block.ln_1.register_forward_hook(lambda *_, number=number: calls.append(number))  # type: ignore[union-attr]
    expected, found = gradients(plain), gradients(again)
    assert expected.keys() == found.keys()
    for name, gradient in expected.items():
        assert torch.equal(found[name], gradient), name
    visual = calls.count(0)
    assert visual == 2, "once forward, once in the backward pass"


@pytest.mark.filterwarnings("ignore")  # inductor's own
def test_compiled_blocks_give_the_same_scores_and_gradients() -> None:
    plain, compiled = (placed(small_config("lnclip", f"compile={word}")) for word in ("false", "true"))
    images = random_batch(6, 32).images
    torch.testing.assert_close(
        torch.from_numpy(compiled.score(images).fake), torch.from_numpy(plain.score(images).fake)
    )
    expected, found = gradients(plain), gradients(compiled)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, atol=1e-5, rtol=1e-3, msg=name)


def test_an_encoder_without_blocks_cannot_have_them_compiled() -> None:
    config = small_config("lnclip", "compile=true")
    task = build_task(config)
    task.blocks = list  # type: ignore[method-assign]
    with pytest.raises(UsageError, match="compile works on transformer blocks"):
        place(task, config, open_fabric(config))
