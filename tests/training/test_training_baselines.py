from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from torch import nn

from mmidd.errors import UsageError
from mmidd.spec import PreprocessSpec
from mmidd.training.accumulate import accumulate
from mmidd.training.checkpoint import start_run
from mmidd.training.config import METHODS, TrainConfig, apply_overrides, load_preset
from mmidd.training.loop import Loop
from mmidd.training.models.clip import MEAN, STD, build_clip
from mmidd.training.models.encoder import vision_encoder
from mmidd.training.models.svd import SvdLinear
from mmidd.training.parallel import open_fabric
from mmidd.training.report import SilentReporter
from mmidd.training.tasks import build_task
from mmidd.training.tasks.base import Task
from mmidd.training.trained import load_run
from tests.training.training_world import PLAIN_SENTENCES, memory_data, random_batch, small_config

BASELINES = [name for name in METHODS if name.split("-")[0] not in ("sd2", "lnclip", "kfd", "ltdd")]
SHAPE = small_config("lnclip").backbone
CNN = "{library: timm, name: test_efficientnet, weights: random, image_size: 32, batch_norm: true}"


def small(method: str, *overrides: str) -> TrainConfig:
    """A baseline on a very small encoder at 32 px."""
    config = load_preset(method, "tiny")
    backbone = CNN if config.backbone.library == "timm" else SHAPE.model_dump_json()
    fixed = [f"backbone={backbone}", "batch=10", "micro_batch=10"]
    if method == "effort":
        fixed.append("svd_rank=28")
    return apply_overrides(config, [*fixed, *overrides])


def built(method: str, *overrides: str) -> Task[Any]:
    return build_task(small(method, *overrides))


@pytest.mark.parametrize("preset", ["paper", "small", "tiny"])
@pytest.mark.parametrize("method", BASELINES)
def test_every_baseline_has_its_presets(method: str, preset: str) -> None:
    assert load_preset(method, preset).model_dump()["method"] == method


@pytest.mark.parametrize(
    ("method", "trained"),
    [
        ("linear", 2_050),
        ("clip-lora", 1_572_864 + 2_050),
        ("effort", 24 * 4 * 2_049 + 2_050),
        ("full", 303_179_776 + 2_050),
        ("xception", 20_811_050),
        ("effnetb4", 17_552_202),
        ("sbi", 17_552_202),
        ("zeroshot", 0),
    ],
)
def test_paper_presets_train_the_published_number_of_weights(method: str, trained: int) -> None:
    config = apply_overrides(load_preset(method, "paper"), ["backbone.weights=random"])
    with torch.device("meta"):
        task = build_task(config)
    assert sum(p.numel() for p in task.trainable().values()) == trained
    assert sum(p.numel() for group in task.groups() for p in group.parameters) == trained


def test_paper_presets_see_images_as_their_sources_do() -> None:
    seen = {}
    for method in BASELINES:
        config = apply_overrides(load_preset(method, "paper"), ["backbone.weights=random"])
        with torch.device("meta"):
            encoder = vision_encoder(config.backbone, config.seed)
        seen[method] = (encoder.size, encoder.mean, encoder.std)
    half, clip = ((0.5,) * 3, (0.5,) * 3), (224, MEAN, STD)
    assert seen["xception"] == seen["effnetb4"] == (256, *half)
    assert seen["sbi"] == (380, (0.0,) * 3, (1.0,) * 3)
    assert seen["full"] == (224, *half)
    assert seen["linear"] == seen["clip-lora"] == seen["effort"] == seen["zeroshot"] == clip


@pytest.mark.parametrize("method", ["clip-lora", "effort"])
def test_training_starts_from_the_encoder_itself(method: str) -> None:
    task = built(method).eval()
    plain = vision_encoder(task.config.backbone, task.config.seed)
    batch = random_batch(4, 32)
    with torch.no_grad():
        torch.testing.assert_close(task(batch)["z"], plain(task.normalise(batch.images)), atol=1e-5, rtol=0)


@pytest.mark.parametrize("method", ["linear", "full", "clip-lora", "effort", "effnetb4"])
def test_training_moves_what_is_trained_and_nothing_else(method: str) -> None:
    task = built(method).train()
    before = {name: p.detach().clone() for name, p in task.named_parameters()}
    grouped = [p for group in task.groups() for p in group.parameters]
    assert {id(p) for p in grouped} == {id(p) for p in task.trainable().values()}
    optimiser = torch.optim.AdamW(grouped, lr=1e-2, weight_decay=0.0)
    for seed in range(3):
        optimiser.zero_grad()
        accumulate(task, task, random_batch(10, 32, seed), 10, seed=seed, backward=torch.Tensor.backward)
        optimiser.step()
    for name, parameter in task.named_parameters():
        assert torch.equal(parameter, before[name]) != (name in task.trainable()), name


@pytest.mark.parametrize("method", ["linear", "full", "clip-lora", "effort"])
def test_micro_batches_give_the_gradient_of_the_whole_batch(method: str) -> None:
    task, found = built(method).train(), []
    for name, parameter in task.trainable().items():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.1)
    for micro_batch in (10, 3):
        task.zero_grad()
        accumulate(task, task, random_batch(10, 32), micro_batch, seed=7, backward=torch.Tensor.backward)
        found.append({name: p.grad for name, p in task.trainable().items()})
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, atol=2e-5, rtol=2e-4, msg=name)


@pytest.mark.parametrize("method", ["linear", "clip-lora", "effort", "effnetb4"])
def test_the_start_depends_on_the_seed_alone(method: str) -> None:
    torch.manual_seed(1)
    first = built(method).learned()
    torch.manual_seed(2)
    again, other = built(method).learned(), built(method, "seed=1").learned()
    assert first.keys() == again.keys()
    assert all(torch.equal(again[name], value) for name, value in first.items())
    assert not torch.equal(other["head.weight"], first["head.weight"])


@pytest.mark.parametrize("method", ["linear", "full", "clip-lora", "effort", "effnetb4"])
def test_sixteen_crops_are_learned_by_heart(method: str) -> None:
    label = torch.arange(16) % 2
    batch = dataclasses.replace(random_batch(16, 32), label=label)
    task = built(method).train()
    optimiser = torch.optim.AdamW([p for group in task.groups() for p in group.parameters], lr=1e-2)
    for step in range(100):
        optimiser.zero_grad()
        accumulate(task, task, batch, 16, seed=step, backward=torch.Tensor.backward)
        optimiser.step()
    assert roc_auc_score(label, task.eval().score(batch.images).fake) == 1


@pytest.mark.parametrize(
    ("method", "steps"),
    [("linear", 2), ("clip-lora", 2), ("effort", 2), ("effnetb4", 2), ("sbi", 2), ("zeroshot", 0)],
)
def test_a_run_scores_alike_when_loaded(method: str, steps: int, tmp_path: Path) -> None:
    config = small(method, "sampling={}", *(["epochs=1"] if steps else []))
    task = build_task(config)
    start_run(tmp_path, config, PreprocessSpec())
    loop = Loop(task, memory_data(), config, tmp_path, SilentReporter(), open_fabric(config))
    result, images = loop.run(resume=False), random_batch(4, 32).images
    assert (result.steps, result.skipped, result.best_epoch) == (steps, 0, 0)
    torch.rand(1)  # loading must not depend on what was drawn before
    assert load_run(tmp_path).score(list(images.numpy())).fake == pytest.approx(
        task.score(images).fake, abs=1e-6
    )


def test_a_frozen_encoder_keeps_its_batch_statistics() -> None:
    task: Any = built("linear", "backbone.shape.stem=conv").train()
    statistics = {name: value.clone() for name, value in task.encoder.named_buffers()}
    task(random_batch(10, 32))
    assert any("running_mean" in name for name in statistics)
    assert all(torch.equal(value, statistics[name]) for name, value in task.encoder.named_buffers())


@pytest.mark.parametrize(
    ("method", "overrides", "message"),
    [
        ("effnetb4", ["backbone.batch_norm=false"], "backbone.batch_norm=true"),
        ("full", ["backbone.batch_norm=true"], "backbone.batch_norm=false"),
        ("effnetb4", ["micro_batch=5"], "set micro_batch to batch"),
        ("effnetb4", ["tune=svd"], "no q, k, v and out projections"),
        ("effnetb4", ["tune=lora"], "none of lora.targets"),
        ("effort", ["svd_rank=32"], "svd_rank=31 or less"),
        ("zeroshot", ["epochs=1"], "epochs: "),
    ],
)
def test_what_cannot_be_tuned_is_one_clear_line(method: str, overrides: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        built(method, *overrides)
    assert "\n" not in str(caught.value)


@given(
    rows=st.integers(2, 12), columns=st.integers(2, 12), left=st.integers(1, 12), seed=st.integers(0, 2**16)
)
@settings(max_examples=30, deadline=None)
def test_singular_triplets_split_a_weight_without_changing_it(
    rows: int, columns: int, left: int, seed: int
) -> None:
    torch.manual_seed(seed)
    linear, left = nn.Linear(columns, rows), min(left, rows, columns)
    split = SvdLinear(linear, min(rows, columns) - left)
    torch.testing.assert_close(split.main + split.u * split.s @ split.v, linear.weight, atol=1e-5, rtol=0)
    assert sum(p.numel() for p in split.parameters() if p.requires_grad and p is not split.bias) == left * (
        rows + columns + 1
    )
    kept = torch.linalg.svdvals(split.main)[: min(rows, columns) - left]
    torch.testing.assert_close(kept, torch.linalg.svdvals(linear.weight)[: len(kept)], atol=1e-5, rtol=0)


def test_singular_triplets_get_the_gradient_of_the_explicit_product() -> None:
    torch.manual_seed(0)
    split, x, target = SvdLinear(nn.Linear(7, 5), frozen=2), torch.randn(3, 7), torch.randn(3, 5)
    torch.autograd.backward((split(x) * target).sum())
    u, s, v = (p.detach().clone().requires_grad_() for p in (split.u, split.s, split.v))
    out = x @ (split.main.detach() + u @ torch.diag(s) @ v).T + split.bias.detach()
    torch.autograd.backward((out * target).sum())
    for ours, theirs in ((split.u, u), (split.s, s), (split.v, v)):
        torch.testing.assert_close(ours.grad, theirs.grad)
    assert split.main.grad is None


def test_zeroshot_is_open_clip_asked_for_five_sentences() -> None:
    task = built("zeroshot")
    shape = task.config.backbone.shape
    torch.manual_seed(task.config.seed)
    clip: Any = build_clip(shape).eval()
    images = random_batch(3, 32).images
    pixels = (images.permute(0, 3, 1, 2) / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(
        3, 1, 1
    )
    with torch.no_grad():
        f = F.normalize(clip.encode_image(pixels), dim=-1)
        t = F.normalize(
            clip.encode_text(open_clip.tokenize(PLAIN_SENTENCES, shape.text.context_length)), dim=-1
        )
        expected = (100 * f @ t.T).softmax(dim=-1).numpy()
        torch.testing.assert_close(task(random_batch(3, 32))["cosines"], f @ t.T, atol=1e-5, rtol=0)
    scores = task.score(images)
    assert scores.types == pytest.approx(expected, abs=1e-4)
    assert scores.fake == pytest.approx(1 - expected[:, 0], abs=1e-4)
    assert (task.trainable(), task.groups(), task.learned()) == ({}, [], {})


@pytest.mark.parametrize("method", ["linear", "zeroshot"])
def test_the_normalisation_is_a_setting(method: str) -> None:
    task = built(method, "backbone.mean=[0, 0.5, 1]", "backbone.std=[1, 0.5, 2]")
    pixels = task.normalise(torch.full((1, 32, 32, 3), 255, dtype=torch.uint8))
    assert pixels[0, :, 0, 0].tolist() == [1, 1, 0]
