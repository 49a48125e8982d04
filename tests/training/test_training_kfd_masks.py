"""Masks in the training stream: where an image's pixels go, its mask goes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmidd.errors import DataError, UsageError
from mmidd.schema import Split
from mmidd.shards import loader
from mmidd.spec import PreprocessSpec
from mmidd.training.augment import Draw, apply, apply_to_mask, draw, sample_generator
from mmidd.training.augment.device import apply_batch, apply_to_masks
from mmidd.training.augment.draw import Blur, Light
from mmidd.training.checkpoint import start_run
from mmidd.training.config import apply_overrides, load_preset
from mmidd.training.data import Batch, TrainingData
from mmidd.training.loop import Loop
from mmidd.training.online import OnlineSamples
from mmidd.training.parallel import open_fabric
from mmidd.training.prepare import Augmented
from mmidd.training.ranges import Augment
from mmidd.training.report import SilentReporter
from mmidd.training.tasks import build_task
from tests.training.kfd_world import SIDE, kfd_config
from tests.training.test_training_online import faces
from tests.training.training_world import epoch_of

MOVES = Augment(resize_p=0.5, border="reflect", colour_p=0, jpeg_p=0, blur_p=0, rotate=20)
CHANGES = {"blur": Blur(7, 2.0), "colour": Light(0.5, 0.2, 30.0), "jpeg": 40}


def ellipse(side: int = 64) -> np.ndarray:
    """A soft blob off the centre."""
    y, x = np.mgrid[:side, :side] / side
    return np.asarray(255 * np.exp(-40 * (x - 0.3) ** 2 - 90 * (y - 0.6) ** 2), dtype=np.uint8)


def drawn(seed: int, ranges: Augment = MOVES) -> Draw:
    return draw(ranges, sample_generator(seed, 0, 0, "key"))


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), size=st.sampled_from([48, 64, 80]))
def test_a_mask_moves_exactly_as_an_image_of_it(seed: int, size: int) -> None:
    mask, change = ellipse(), drawn(seed)
    image = np.repeat(mask[..., None], 3, axis=2)
    moved = apply_to_mask(mask, change, size)
    assert np.array_equal(moved, apply(image, change, size)[..., 0])
    masks, images = torch.from_numpy(mask)[None], torch.from_numpy(image)[None]
    on_device = apply_to_masks(masks, [change], size)
    assert torch.equal(on_device, apply_batch(images, [change], size)[..., 0])
    assert np.abs(on_device[0].numpy().astype(int) - moved).mean() < 0.5


@pytest.mark.parametrize("name", CHANGES)
def test_colour_blur_and_compression_leave_a_mask(name: str) -> None:
    mask, change = ellipse(), Draw(flip=True, **{name: CHANGES[name]})  # type: ignore[arg-type]
    assert np.array_equal(apply_to_mask(mask, change, 64), mask[:, ::-1])
    assert torch.equal(
        apply_to_masks(torch.from_numpy(mask)[None], [change], 64)[0], torch.from_numpy(mask[:, ::-1].copy())
    )


def pairs_data() -> TrainingData:
    samples = [OnlineSamples(faces(split, 4), ("regional", "sbi"), 0) for split in (Split.TRAIN, Split.VAL)]
    return TrainingData(*samples)


def first_batch(*overrides: str) -> Batch:
    batch = epoch_of(pairs_data(), kfd_config(*overrides), 0)[0]
    return batch.rendered(SIDE)


UNMOVED = "augment={by_pair: true, hflip_p: 0, affine_p: 0, colour_p: 0, jpeg_p: 0, blur_p: 0}"
STRONG = "augment={by_pair: true, hflip_p: 0.5, rotate: 10, colour_p: 0, jpeg_p: 0, blur_p: 0}"


@pytest.mark.parametrize("place", ["cpu", "device"])
def test_the_stream_holds_a_mask_for_every_forgery_and_none_for_its_real(place: str) -> None:
    batch = first_batch(STRONG, f"augment_on={place}")
    assert batch.images.shape == (8, SIDE, SIDE, 3)
    assert batch.mask.shape == (8, SIDE, SIDE)
    for number in range(8):
        assert bool(batch.mask[number].any()) == bool(batch.label[number])
    assert batch.pair_id[::2] == batch.pair_id[1::2] == batch.sample_id[1::2]


@pytest.mark.parametrize("place", ["cpu", "device"])
def test_what_differs_within_a_pair_lies_in_the_mask(place: str) -> None:
    batch = first_batch(STRONG, f"augment_on={place}", "online=[regional-alpha]")
    for fake in range(0, 8, 2):
        difference = (batch.images[fake].int() - batch.images[fake + 1].int()).abs().sum(-1)
        outside = batch.mask[fake] == 0
        assert difference[~outside].float().mean() > 2
        assert difference[outside].float().mean() < 0.1 * difference[~outside].float().mean()


def test_device_and_cpu_move_the_masks_alike() -> None:
    one, other = (first_batch(STRONG, f"augment_on={place}") for place in ("cpu", "device"))
    assert (one.mask.int() - other.mask.int()).abs().float().mean() < 0.5
    assert one.sample_id == other.sample_id


def test_batches_carry_masks_through_splitting_joining_and_moving() -> None:
    batch = first_batch(UNMOVED)
    again = Batch.joined(batch.split(3)).to(torch.device("cpu"))
    assert torch.equal(again.mask, batch.mask)
    assert again.pair_id == batch.pair_id
    assert torch.equal(batch.without_images().mask, batch.mask)


def test_methods_without_masks_get_none() -> None:
    settings = apply_overrides(load_preset("lnclip", "tiny-sbi"), ["batch=4", "micro_batch=4", "workers=0"])
    batch = epoch_of(pairs_data(), settings, 0)[0]
    assert batch.mask.shape == Batch.joined(batch.split(2)).mask.shape == (0,)
    assert batch.images.shape[-1] == 3


def test_a_forgery_without_a_mask_is_left_out() -> None:
    fill = Augmented(faces(Split.TRAIN), SIDE, Augment(), 0, masks=True)
    with pytest.raises(DataError, match=r"no_mask.*train-f0"):
        fill(loader.Draw(0, 0, 1), np.empty((SIDE, SIDE, 4), np.uint8))


def test_pairs_are_moved_together_only_where_they_are_drawn() -> None:
    with pytest.raises(UsageError, match=r"augment.by_pair .*set online"):
        apply_overrides(load_preset("lnclip", "tiny"), ["augment.by_pair=true"])


def test_a_run_trains_and_validates(tmp_path: Path) -> None:
    settings = kfd_config("trainable=all")
    start_run(tmp_path, settings, PreprocessSpec())
    task, fabric = build_task(settings), open_fabric(settings)
    result = Loop(task, pairs_data(), settings, tmp_path, SilentReporter(), fabric).run(resume=False)
    assert (result.steps, result.skipped, result.unusable) == (1, 0, 0)
    assert 0 <= result.video_auc <= 1
