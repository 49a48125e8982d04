from __future__ import annotations

import dataclasses
from typing import Any

import pytest
import torch

from mmidd.errors import UsageError
from mmidd.training.accumulate import accumulate
from mmidd.training.config import Sd2Config
from mmidd.training.models.clip import encode_text
from mmidd.training.tasks import build_task
from mmidd.training.tasks.base import Task
from tests.training.training_world import PLAIN_SENTENCES, random_batch, small_config

VARIANTS = [
    ("lnclip", ["variant=lnclip-df"]),
    ("lnclip", ["trainable=layernorm", "variant=lnclip-df", "slerp_mode=replace"]),
    ("lnclip", ["variant=gend"]),
    ("sd2", []),
    ("sd2", ["label_mode=sample", "adapter=residual"]),
    ("sd2", ["trainable=lora"]),
    ("sd2", ["clam=false", "clam_norm=none", "contrast_face=0", "temperature=frozen"]),
]


def gradients(task: Task[Any], micro_batch: int, n: int = 10) -> dict[str, torch.Tensor]:
    task.zero_grad()
    batch = random_batch(n, 32)
    accumulate(task.train(), task, batch, micro_batch, seed=7, backward=torch.Tensor.backward)
    return {name: p.grad.clone() for name, p in task.trainable().items() if p.grad is not None}


@pytest.mark.parametrize(("method", "overrides"), VARIANTS)
@pytest.mark.parametrize("micro_batch", [3, 5])
def test_micro_batches_give_the_gradient_of_the_whole_batch(
    method: str, overrides: list[str], micro_batch: int
) -> None:
    if "trainable=lora" in overrides:
        overrides = [*overrides, "lora.dropout=0"]
    task = build_task(small_config(method, *overrides))
    whole, parts = gradients(task, 10), gradients(task, micro_batch)
    assert whole.keys() == parts.keys()
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, atol=2e-5, rtol=2e-4, msg=name)


def test_both_encodings_of_a_micro_batch_see_the_same_dropout() -> None:
    task = build_task(small_config("sd2", "trainable=lora", "lora.dropout=0.5")).train()
    torch.nn.init.normal_(next(p for name, p in task.trainable().items() if "lora_B" in name))
    seen: list[torch.Tensor] = []

    def encode(batch: Any) -> Any:
        out = task(batch)
        seen.append(out["f"].detach())
        return out

    accumulate(task, encode, random_batch(6, 32), 3, seed=1, backward=torch.Tensor.backward)
    torch.testing.assert_close(seen[:2], seen[2:])


@pytest.mark.parametrize(("method", "overrides"), VARIANTS)
def test_initial_weights_are_a_function_of_the_seed(method: str, overrides: list[str]) -> None:
    torch.manual_seed(1)
    first = build_task(small_config(method, *overrides))
    torch.manual_seed(2)
    again, other = (build_task(small_config(method, *overrides, f"seed={seed}")) for seed in (0, 1))
    for name, parameter in first.named_parameters():
        assert torch.equal(parameter, again.state_dict()[name]), name
    assert any(not torch.equal(p, other.state_dict()[name]) for name, p in first.named_parameters())


@pytest.mark.parametrize(("method", "overrides"), VARIANTS)
def test_training_moves_what_is_trained_and_nothing_else(method: str, overrides: list[str]) -> None:
    task = build_task(small_config(method, *overrides)).train()
    before = {name: p.detach().clone() for name, p in task.named_parameters()}
    trained = task.trainable()
    grouped = [p for group in task.groups() for p in group.parameters]
    assert {id(p) for p in grouped} == {id(p) for p in trained.values()}
    assert len(grouped) == len(trained)
    optimiser = torch.optim.AdamW(
        [{"params": g.parameters, "lr": 1e-2} for g in task.groups()], weight_decay=0.0
    )
    for seed in range(3):
        optimiser.zero_grad()
        accumulate(task, task, random_batch(10, 32, seed), 10, seed=seed, backward=torch.Tensor.backward)
        optimiser.step()
    for name, parameter in task.named_parameters():
        changed = not torch.equal(parameter, before[name])
        assert changed == (name in trained), name


def test_layernorm_tuning_trains_norms_and_head_only() -> None:
    task = build_task(small_config("lnclip", "trainable=layernorm"))
    assert all("ln_" in name or name.startswith("head.") for name in task.trainable())
    assert len(task.trainable()) == 2 * (2 + 2 * 2) + 2


@pytest.mark.parametrize(
    ("method", "weights"), [("lnclip", ["alignment=0.1", "uniformity=0.5"]), ("sd2", ["alpha=2"])]
)
def test_loss_parts_add_up_and_are_logged_by_name(method: str, weights: list[str]) -> None:
    config = small_config(method, *weights)
    task = build_task(config)
    batch = random_batch(10, 32)
    values = task.losses(task(batch), batch, torch.Generator().manual_seed(0)).values()
    if isinstance(config, Sd2Config):
        expected = 2 * values["type"] + values["separation"] + values["face"] + values["environment"]
    else:
        expected = values["ce"] + 0.1 * values["alignment"] + 0.5 * values["uniformity"]
    assert values["total"] == pytest.approx(expected, rel=1e-5)


def test_scores_are_probabilities_and_do_not_depend_on_the_batch() -> None:
    images = random_batch(6, 32).images
    for method in ("lnclip", "sd2"):
        task = build_task(small_config(method))
        whole, single = task.score(images), task.score(images[2:3])
        assert whole.fake.shape == (6,)
        assert ((whole.fake >= 0) & (whole.fake <= 1)).all()
        assert single.fake[0] == pytest.approx(whole.fake[2], abs=1e-5)
        if whole.types is not None:
            assert whole.types.sum(axis=1) == pytest.approx([1] * 6, abs=1e-5)
            assert 1 - whole.types[:, 0] == pytest.approx(whole.fake, abs=1e-6)


def test_sd2_scores_against_the_plain_class_sentences() -> None:
    task: Any = build_task(small_config("sd2"))
    images = random_batch(2, 32).images
    with torch.no_grad():
        f = task(dataclasses.replace(random_batch(2, 32), images=images))["f"]
        cosines = f @ encode_text(task.clip, PLAIN_SENTENCES).T
        expected = (task.clip.logit_scale.exp() * cosines).softmax(dim=-1)
    assert task.score(images).types == pytest.approx(expected.numpy(), abs=1e-5)


def test_equal_captions_and_equal_videos_are_no_negatives() -> None:
    task: Any = build_task(small_config("sd2"))
    batch = random_batch(4, 32)
    same = dataclasses.replace(batch, video_id=("a",) * 4)
    features = task(batch)
    values = task.losses(features, same, torch.Generator()).values()
    scale, bias = 10.0, -10.0
    positive = (features["face"] * features["f"]).sum(dim=1)
    expected = -torch.nn.functional.logsigmoid(scale * positive + bias).mean()
    assert values["face"] == pytest.approx(expected.item(), rel=1e-4)


def test_sd2_without_captions_says_what_to_run() -> None:
    batch = dataclasses.replace(random_batch(4, 32), face_caption=(None,) * 4)
    with pytest.raises(UsageError, match="mmidd caption"):
        build_task(small_config("sd2"))(batch)
