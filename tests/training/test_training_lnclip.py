from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmidd.errors import UsageError
from mmidd.training.config import LnclipConfig, load_preset
from mmidd.training.tasks.lnclip import Lnclip
from tests.training.training_world import random_batch, small_config

PLAIN = ["variant=gend", "normalise=false", "alignment=0", "uniformity=0", "trainable=none", "head_gain=1"]


def task_of(*overrides: str) -> Lnclip:
    config = small_config("lnclip", *overrides)
    assert isinstance(config, LnclipConfig)
    return Lnclip(config)


def unit(n: int, width: int = 32) -> Tensor:
    return F.normalize(torch.randn(n, width, generator=torch.Generator().manual_seed(0)), dim=-1)


def values(task: Lnclip, z: Tensor, seed: int = 0) -> dict[str, float]:
    return task.losses({"z": z}, random_batch(len(z), 32), torch.Generator().manual_seed(seed)).values()


def pairs(z: Tensor, labels: Tensor) -> tuple[float, float]:
    """Alignment and uniformity, pair by pair in float64."""
    points = z.double().tolist()
    indices = [(i, j) for i in range(len(points)) for j in range(i)]
    squares = {(i, j): math.dist(points[i], points[j]) ** 2 for i, j in indices}
    same = [squares[i, j] for i, j in indices if labels[i] == labels[j]]
    return sum(same) / len(same), math.log(sum(math.exp(-2 * d) for d in squares.values()) / len(squares))


def test_gend_is_the_loss_of_the_features_themselves() -> None:
    task, z = task_of("variant=gend", "alignment=0.1", "uniformity=0.5"), unit(10)
    labels = random_batch(10, 32).label
    alignment, uniformity = pairs(z, labels)
    ce = F.cross_entropy(task.head(z), labels).item()
    assert values(task, z) == pytest.approx(
        {
            "total": ce + 0.1 * alignment + 0.5 * uniformity,
            "ce": ce,
            "alignment": alignment,
            "uniformity": uniformity,
        },
        rel=1e-5,
    )
    assert values(task, z, seed=1) == values(task, z, seed=0)


@pytest.mark.parametrize("mode", ["expand", "replace"])
def test_lnclip_df_draws_its_interpolations_from_the_generator(mode: str) -> None:
    task, gend = (task_of(f"variant={name}", f"slerp_mode={mode}") for name in ("lnclip-df", "gend"))
    z = unit(10)
    assert values(task, z, seed=0) == values(task, z, seed=0)
    assert values(task, z, seed=0) != values(task, z, seed=1)
    assert values(task, z)["alignment"] < values(gend, z)["alignment"]


def test_an_expansion_of_one_is_gend() -> None:
    task, gend = task_of("variant=lnclip-df", "slerp_k=1"), task_of("variant=gend")
    assert values(task, unit(10)) == values(gend, unit(10))


def test_without_normalisation_it_is_a_plain_linear_probe() -> None:
    task, batch = task_of(*PLAIN), random_batch(10, 32)
    x = task.encoder(task.normalise(batch.images))
    logits = x @ task.head.weight.T + task.head.bias
    torch.testing.assert_close(task(batch)["z"], x)
    assert values(task, x)["total"] == pytest.approx(F.cross_entropy(logits, batch.label).item())
    assert task.score(batch.images).fake == pytest.approx(
        logits.softmax(dim=-1)[:, 1].detach().numpy(), abs=1e-6
    )
    assert set(task.trainable()) == {"head.weight", "head.bias"}
    assert [len(group.parameters) for group in task.groups()] == [2]
    normalised = task_of("variant=gend")(batch)["z"]
    torch.testing.assert_close(normalised.norm(dim=-1), torch.ones(10))


@pytest.mark.parametrize("missing", PLAIN[:1] + PLAIN[2:4])
def test_losses_of_the_sphere_need_normalisation(missing: str) -> None:
    name = missing.partition("=")[0]
    back = {"variant": "lnclip-df", "alignment": "0.1", "uniformity": "0.5"}[name]
    with pytest.raises(UsageError, match="variant to gend, alignment and uniformity to 0"):
        task_of(*PLAIN, f"{name}={back}")


@pytest.mark.parametrize(
    ("preset", "encoder", "norms"),
    [("paper", 303_179_776, 102_400), ("pe", 316_102_656, 104_448), ("dinov3", 303_129_600, 100_352)],
)
def test_presets_train_norms_and_head_alone(preset: str, encoder: int, norms: int) -> None:
    loaded: Any = load_preset("lnclip", preset)
    backbone = loaded.backbone.model_copy(update={"weights": "random"})
    with torch.device("meta"):
        task = Lnclip(loaded.model_copy(update={"backbone": backbone}))
    total = sum(p.numel() for p in task.parameters())
    trained = sum(p.numel() for p in task.trainable().values())
    assert (total, trained) == (encoder + 2_050, norms + 2_050)
    assert trained / total == pytest.approx(0.000345, rel=0.03)


def test_gend_differs_from_the_paper_as_its_code_does() -> None:
    paper, gend = (load_preset("lnclip", name).model_dump() for name in ("paper", "gend"))
    different = {key: gend[key] for key in paper if gend[key] != paper[key]}
    assert different.keys() == {"variant", "optim", "epochs"}
    assert (gend["variant"], gend["epochs"]) == ("gend", 30)
    assert {k: v for k, v in gend["optim"].items() if v != paper["optim"][k]} == {"warm_cycles": "first"}


@pytest.mark.parametrize(
    "backbone",
    [
        "{library: timm, name: test_efficientnet, weights: random, batch_norm: true}",
        "{library: timm, name: test_efficientnet_gn, weights: random}",
    ],
)
def test_layernorm_tuning_needs_layernorms_and_no_other_norm(backbone: str) -> None:
    with pytest.raises(UsageError, match="trainable=layernorm needs"):
        task_of("trainable=layernorm", f"backbone={backbone}", "micro_batch=8")


def test_a_frozen_encoder_keeps_its_statistics_in_training() -> None:
    stem = "backbone.shape.stem=conv"
    task = task_of("trainable=none", stem).train()
    before = {name: value.clone() for name, value in task.encoder.state_dict().items()}
    task(random_batch(8, 32))
    assert all(torch.equal(value, before[name]) for name, value in task.encoder.state_dict().items())
    assert task_of("trainable=all", stem).train().encoder.training


@pytest.mark.parametrize("variant", ["lnclip-df", "gend"])
@pytest.mark.parametrize(("trainable", "lr"), [("layernorm", 1e-2), ("all", 3e-3)])
def test_one_batch_is_learned_within_a_hundred_steps(variant: str, trainable: str, lr: float) -> None:
    task = task_of(f"variant={variant}", f"trainable={trainable}", "alignment=0.1", "uniformity=0.5").train()
    batch = random_batch(16, 32)
    batch.label.copy_(torch.arange(16) % 2)
    optimiser = torch.optim.AdamW(
        [{"params": group.parameters, "lr": lr} for group in task.groups()], weight_decay=0.0
    )
    for step in range(100):
        optimiser.zero_grad()
        generator = torch.Generator().manual_seed(step)
        task.losses(task(batch), batch, generator).total.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(task.parameters(), 1.0)
        optimiser.step()
    fake = task.score(batch.images).fake
    assert fake[batch.label.numpy() == 1].min() > fake[batch.label.numpy() == 0].max()
