"""The detector of KFD as a task: what learns, from what, and what it says."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mmidd.errors import UsageError
from mmidd.training.accumulate import accumulate
from mmidd.training.config import apply_overrides, load_preset
from mmidd.training.data import Batch
from mmidd.training.losses import dice
from mmidd.training.models.clip import encode_text, load_clip
from mmidd.training.models.kfd.maps import reference_maps, text_maps
from mmidd.training.parallel import open_fabric, place
from mmidd.training.tasks import build_task
from mmidd.training.tasks.kfd import Kfd, pristine_of
from tests.training.kfd_world import SIDE, kfd_config, pairs, small_kfd

VARIANTS = [[], ["trainable=all"], ["trainable=lora", "lora.dropout=0"], ["context=input", "dice_on=all"]]


def gradients(task: Kfd, batch: Batch, micro_batch: int) -> dict[str, Tensor]:
    task.zero_grad()
    accumulate(task.train(), task, batch, micro_batch, seed=7, backward=torch.Tensor.backward)
    return {name: p.grad.clone() for name, p in task.trainable().items() if p.grad is not None}


@pytest.mark.parametrize("overrides", VARIANTS)
def test_micro_batches_and_their_sizes_change_no_gradient_and_no_statistics(overrides: list[str]) -> None:
    batch, tasks = pairs(5), [small_kfd(*overrides) for _ in range(2)]
    whole, parts = (gradients(task, batch, size) for task, size in zip(tasks, (10, 3), strict=True))
    assert whole.keys() == parts.keys()
    largest = max(float(gradient.abs().max()) for gradient in whole.values())
    for name, gradient in whole.items():
        torch.testing.assert_close(parts[name], gradient, atol=1e-5 * largest, rtol=1e-3, msg=name)
    for name, buffer in tasks[0].named_buffers():
        torch.testing.assert_close(tasks[1].get_buffer(name), buffer, msg=name)


@pytest.mark.parametrize("overrides", VARIANTS)
def test_a_step_moves_all_that_is_trained_and_leaves_the_rest_bit_for_bit(overrides: list[str]) -> None:
    task = small_kfd(*overrides)
    before = {name: p.detach().clone() for name, p in task.named_parameters()}
    grouped = [p for group in task.groups() for p in group.parameters]
    assert {id(p) for p in grouped} == {id(p) for p in task.trainable().values()}
    assert len(grouped) == len(task.trainable())
    optimiser = torch.optim.AdamW(grouped, lr=1e-2)
    for seed in (0, 1):
        optimiser.zero_grad()
        accumulate(task.train(), task, pairs(3, seed), 6, seed, torch.Tensor.backward)
        optimiser.step()
    moved = {name for name, p in task.named_parameters() if not torch.equal(p, before[name])}
    assert moved == set(task.trainable())
    assert any("visual" in name for name in moved) == (overrides[:1] not in ([], ["context=input"]))


@pytest.mark.parametrize("context", ["output", "input"])
def test_the_paper_preset_trains_as_many_weights_as_the_release(context: str) -> None:
    config = apply_overrides(load_preset("kfd", "paper"), ["backbone.weights=random", f"context={context}"])
    with torch.device("meta"):
        task = build_task(config)
    counts = {"patches": 3_935_232, "texts": 16_384, "locator": 14_978, "classifier": 1_237_298}
    found = dict.fromkeys(counts, 0)
    for name, parameter in task.trainable().items():
        found[name.partition(".")[0]] += parameter.numel()
    assert found == counts
    assert task.patches.indices == [15, 23, 31]
    assert task.size == 224


def graded(batch: Batch) -> Batch:
    """Masks that rise from 40 to 255 in every square; the last one stays at 60."""
    rise = torch.linspace(40, 255, 16).repeat(SIDE // 16).view(1, SIDE, 1)
    mask = (batch.mask > 0) * rise
    mask[-1].clamp_(max=60)
    return dataclasses.replace(batch, mask=mask.to(torch.uint8))


@pytest.mark.parametrize(
    ("overrides", "cut", "rows"),
    [
        ([], 76.5, [1, 3]),
        (["mask_threshold=0.6", "gamma=1"], 153, [1, 3]),
        (["dice_target=soft"], 76.5, [1, 3]),
        (["dice_on=all"], 76.5, [0, 1, 2, 3, 4, 5]),
        (["map_size=16"], 76.5, [1, 3]),
    ],
)
def test_every_loss_is_what_a_direct_computation_gives(
    overrides: list[str], cut: float, rows: list[int]
) -> None:
    task, batch = small_kfd(*overrides).train(), graded(pairs(3))
    gamma = 1 if "gamma=1" in overrides else 2
    with torch.no_grad():
        f = task(batch)["f"]
        terms = task.losses({"f": f}, batch, torch.Generator())
        side = 16 if "map_size=16" in overrides else SIDE
        block = SIDE // side
        mask = batch.mask.view(-1, side, block, side, block).float().mean((2, 4))
        maps = text_maps(f, task.texts(), side)
        pixels = task.locator(maps).softmax(dim=1)[:, 1]
        forged = mask >= cut
        target = mask / 255 if "dice_target=soft" in overrides else forged.float()
        pristine = f[[row // 2 * 2 for row in rows]]
        reference = task.locator(reference_maps(f[rows], pristine, side)).softmax(dim=1)[:, 1]
        own = torch.where(forged, pixels, 1 - pixels)
        expected = {
            "ce": F.cross_entropy(task.classifier(maps), batch.label),
            "dice": dice(pixels[rows], target[rows]).mean(),
            "reference": dice(reference, target[rows]).mean(),
            "focal": (-((1 - own) ** gamma) * own.log()).mean(),
        }
    for name, value in expected.items():
        torch.testing.assert_close(terms.parts[name], value, msg=name)
    torch.testing.assert_close(terms.total, torch.stack([*expected.values()]).sum())


@pytest.mark.parametrize(("part", "key"), [("dice", "localisation"), ("reference",) * 2, ("focal",) * 2])
def test_every_part_has_its_weight(part: str, key: str) -> None:
    batch, totals, value = pairs(3), [], 0.0
    for weight in (1.0, 3.0):
        task = small_kfd(f"{key}={weight}").train()
        with torch.no_grad():
            terms = task.losses(task(batch), batch, torch.Generator())
        totals.append(float(terms.total))
        value = float(terms.parts[part])
    assert totals[1] - totals[0] == pytest.approx(2 * value, rel=1e-4)
    assert value > 0


@pytest.mark.parametrize("trainable", ["none", "lora", "all"])
def test_the_tower_learns_at_its_own_rate(trainable: str) -> None:
    setting = f"trainable={trainable}"
    task = small_kfd(setting, "optim.lr=1e-3", "optim.new_lr=1e-2")
    rates = {id(p): group.lr for group in task.groups() for p in group.parameters}
    for name, parameter in task.trainable().items():
        assert rates[id(parameter)] == (1e-3 if "visual" in name else 1e-2), name
    assert {group.lr for group in small_kfd(setting, "optim.lr=1e-3", "optim.new_lr=null").groups()} == {1e-3}


@pytest.mark.parametrize("overrides", VARIANTS)
def test_the_start_is_a_function_of_the_seed(overrides: list[str]) -> None:
    torch.manual_seed(1)
    first = small_kfd(*overrides).state_dict()
    torch.manual_seed(2)
    again, other = (small_kfd(*overrides, f"seed={seed}").state_dict() for seed in (0, 1))
    assert all(torch.equal(again[name], value) for name, value in first.items())
    for part in ("patches.project.0.weight", "texts.context", "locator.fuse.weight", "lora_A"):
        names = [name for name in first if part in name]
        assert names or (part == "lora_A") > ("trainable=lora" in overrides)
        assert not any(torch.equal(other[name], first[name]) for name in names), part


def test_the_first_text_is_that_of_real_faces() -> None:
    task = small_kfd("descriptions={real: [a b], fake: [c d e]}")
    clip = load_clip(task.config.backbone, 0)
    with torch.no_grad():
        for text, sentence in zip(task.texts(), ["a b", "c d e"], strict=True):
            mean = torch.cat([encode_text(clip, [sentence]), task.texts.context]).mean(dim=0)
            torch.testing.assert_close(text, mean / mean.norm())


def test_a_frozen_tower_keeps_its_statistics_in_training() -> None:
    stem = "backbone.shape.stem=conv"
    task = small_kfd(stem).train()
    statistics = {name: value.clone() for name, value in task.patches.visual.named_buffers()}
    task(pairs(2))
    assert any("running_mean" in name for name in statistics)
    assert all(torch.equal(value, statistics[name]) for name, value in task.patches.visual.named_buffers())
    assert small_kfd(stem, "trainable=all").train().patches.visual.training


def test_features_are_float32_whatever_the_precision() -> None:
    task, batch = small_kfd(), pairs(2)
    with torch.autocast("cpu", torch.bfloat16):
        assert task(batch)["f"].dtype == torch.float32
        assert task.examine(batch.images).embedding.dtype == torch.float32


def test_the_normalisation_is_a_setting() -> None:
    task = small_kfd("backbone.mean=[0, 0.5, 1]", "backbone.std=[1, 0.5, 2]")
    white = torch.full((1, SIDE, SIDE, 3), 255, dtype=torch.uint8)
    assert task.normalise(white)[0, :, 0, 0].tolist() == [1, 1, 0]


def test_the_towers_blocks_can_be_computed_again() -> None:
    sizes = []
    for again in ("false", "true"):
        config = kfd_config("trainable=all", f"gradient_checkpointing={again}")
        task = Kfd(config).train()
        place(task, config, open_fabric(config))
        sizes.append(kept(lambda task=task: task(pairs(4))["f"]))  # type: ignore[misc]
    assert sizes[1] < 0.5 * sizes[0]


def test_a_forgery_is_compared_with_its_own_real_wherever_that_stands() -> None:
    batch = pairs(3)
    order = torch.tensor([3, 0, 5, 2, 4])  # the real of the first pair is there, its forgery is not
    mixed = dataclasses.replace(
        batch, label=batch.label[order], pair_id=tuple(batch.pair_id[i] for i in order.tolist())
    )
    assert pristine_of(mixed).tolist() == [3, 1, 4, 3, 4]
    alone = dataclasses.replace(batch, label=torch.ones(6, dtype=torch.int64))
    assert pristine_of(alone).tolist() == [-1] * 6


@pytest.mark.parametrize("part", [slice(0, None, 2), slice(1, None, 2)])
def test_a_batch_without_forgeries_or_without_reals_still_gives_a_gradient(part: slice) -> None:
    task, batch = small_kfd(), pairs(3)
    label = batch.label[part]
    terms = accumulate(task.train(), task, batch[part], 3, 0, torch.Tensor.backward)
    values = terms.values()
    assert terms.total.isfinite()
    assert values["reference"] == 0
    assert (values["dice"] > 0) == bool(label.any())
    assert all(p.grad is None or p.grad.isfinite().all() for p in task.trainable().values())


def test_the_pristine_image_leaves_no_trace_in_the_statistics_that_scoring_uses() -> None:
    with_it, without = small_kfd(), small_kfd("reference=0")
    for task in (with_it, without):
        with torch.no_grad():
            task.train().losses(task(pairs(3)), pairs(3), torch.Generator())
    for name, buffer in with_it.named_buffers():
        assert torch.equal(buffer, without.get_buffer(name)), name


def test_scores_hold_a_map_of_probabilities_at_the_networks_size() -> None:
    task, images = small_kfd(), pairs(2).images
    scores = task.score(images)
    assert scores.maps is not None
    assert scores.fake.shape == (4,)
    assert scores.maps.shape == (4, SIDE, SIDE)
    assert 0 <= scores.maps.min() <= scores.maps.max() <= 1
    with torch.inference_mode():
        found = task.eval().examine(images)
    assert found.embedding.shape == (4, 16)
    assert found.maps.shape == (4, 3, 2, SIDE, SIDE)
    torch.testing.assert_close(found.scores.sum(dim=1), torch.ones(4))


def test_eight_pairs_are_learned_by_heart_with_their_places() -> None:
    task, batch = small_kfd("trainable=all"), pairs(4)
    optimiser = torch.optim.AdamW(task.trainable().values(), lr=3e-3)
    for step in range(60):
        optimiser.zero_grad()
        accumulate(task.train(), task, batch, 8, step, torch.Tensor.backward)
        optimiser.step()
    scores = task.score(batch.images)
    assert scores.maps is not None
    forged, truth = torch.from_numpy(scores.maps) > 0.5, batch.mask > 0
    assert ((scores.fake > 0.5) == batch.label.numpy().astype(bool)).all()
    assert float((forged & truth).sum() / (forged | truth).sum()) > 0.8


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("online=[]", "set online"),
        ("sampling={}", "sampling.pair=true"),
        ("augment.by_pair=false", "augment.by_pair=true"),
        ("depths=[1.0, 0.5]", "depths ascend"),
        ("depths=[0.0, 0.5]", "depths"),
        ("descriptions.real=[]", "descriptions.real"),
    ],
)
def test_settings_that_cannot_work_are_one_line(override: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        apply_overrides(load_preset("kfd", "tiny"), [override])
    assert "\n" not in str(caught.value)


def test_an_encoder_without_comparable_texts_is_one_line() -> None:
    with pytest.raises(UsageError, match="kfd compares patches with texts"), torch.device("meta"):
        small_kfd("backbone={name: RN50, weights: random}")


def kept(run: Callable[[], object]) -> int:
    """Bytes that autograd keeps of a computation on the meta device."""
    storages: dict[int, Tensor] = {}

    def pack(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = run()
    assert result is not None
    return sum(tensor.untyped_storage().nbytes() for tensor in storages.values())


def test_the_paper_preset_fits_24_gigabytes_in_float32() -> None:
    config = apply_overrides(load_preset("kfd", "paper"), ["backbone.weights=random"])
    with torch.device("meta"):
        task: Any = build_task(config).train()
        images = torch.empty(config.batch, 3, task.size, task.size)
        features = torch.empty(config.batch, 3, 256, 1024, requires_grad=True)
        maps = torch.empty(config.batch, 3, 2, task.size, task.size, requires_grad=True)
    weights = 4 * sum(p.numel() for p in task.parameters())
    state = 3 * 4 * sum(p.numel() for p in task.trainable().values())
    encoded = kept(lambda: task.patches(images))
    half = config.batch // 2
    heads = kept(lambda: task.locator(maps)) + kept(lambda: task.classifier(maps))
    reference = kept(lambda: task.locator(maps[:half]))
    drawn = kept(lambda: text_maps(features, task.texts(), task.size))
    branch = 4 * config.batch * 128 * (task.size + 2) ** 2
    assert encoded < 0.4e9, "of a frozen tower nothing is kept but what the linear layers read"
    assert weights + state + encoded + drawn + heads + reference + 2 * branch < 15e9
