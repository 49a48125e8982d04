from __future__ import annotations

import polars as pl
import pytest
import torch

from mmidd.errors import UsageError
from mmidd.schema import Split
from mmidd.training.augment import augment, resize, sample_generator
from mmidd.training.config import Augment
from mmidd.training.data import TrainingData, eval_batches, steps_per_epoch, train_batches
from tests.training.training_world import MemorySamples, memory_data, small_config


def test_test_data_cannot_reach_training() -> None:
    train, val, test = (MemorySamples(split, 10) for split in (Split.TRAIN, Split.VAL, Split.TEST))
    for given in ((test, val), (train, test), (val, train)):
        with pytest.raises(UsageError, match="training takes the"):
            TrainingData(*given)


def test_a_split_without_both_classes_is_refused() -> None:
    with pytest.raises(UsageError, match="val split holds real samples only"):
        TrainingData(MemorySamples(Split.TRAIN, 10), MemorySamples(Split.VAL, 4, kinds=1))
    empty = MemorySamples(Split.TRAIN, 1)
    empty.samples, empty.rows = [], pl.DataFrame({"label": [], "key": []}, schema={"label": str, "key": str})
    with pytest.raises(UsageError, match="train split holds no samples"):
        TrainingData(empty, MemorySamples(Split.VAL, 10))


@pytest.mark.parametrize("balance", ["none", "label", "type", "pair"])
def test_an_epoch_starts_anywhere_with_the_batches_of_the_whole_epoch(balance: str) -> None:
    data, config = memory_data(), small_config("sd2", f"balance={balance}")
    whole = list(train_batches(data, config, epoch=1, start=0))
    assert len(whole) == steps_per_epoch(data, config)
    rest = list(train_batches(data, config, epoch=1, start=2))
    assert [batch.sample_id for batch in rest] == [batch.sample_id for batch in whole[2:]]
    assert all(torch.equal(a.images, b.images) for a, b in zip(rest, whole[2:], strict=True))
    other = next(train_batches(data, config, epoch=0, start=0))
    assert other.sample_id != whole[0].sample_id


def test_worker_processes_change_nothing() -> None:
    data = memory_data()
    alone, workers = (
        list(train_batches(data, small_config("lnclip", f"workers={n}"), epoch=0, start=0)) for n in (0, 2)
    )
    assert [b.sample_id for b in alone] == [b.sample_id for b in workers]
    assert all(torch.equal(a.images, b.images) for a, b in zip(alone, workers, strict=True))


def test_batches_carry_labels_types_and_captions() -> None:
    samples = MemorySamples(Split.VAL, 5)
    (batch,) = eval_batches(samples, 32, 16)
    assert batch.images.shape == (10, 32, 32, 3)
    assert batch.label.tolist() == [0, 0] + [1] * 8
    assert batch.type.tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert batch.face_caption[2] == "face number 1"
    assert batch.environment_caption[9] == "room 1"
    part = batch[2:4]
    assert (part.type.tolist(), part.video_id) == ([1, 1], ("val-001", "val-001"))
    (bare,) = eval_batches(MemorySamples(Split.VAL, 5, captions=False), 32, 16)
    assert bare.face_caption == (None,) * 10


def test_augmentation_depends_on_the_sample_alone() -> None:
    image = MemorySamples(Split.TRAIN, 2)[2].image
    before = image.copy()
    first, again, other = (augment(image, Augment(), sample_generator(0, 1, 2, key)) for key in "aab")
    assert (image == before).all(), "the input is not changed"
    assert (first == again).all()
    assert (first != other).any()
    assert (first.shape, first.dtype) == (image.shape, image.dtype)


def test_every_augmentation_acts_alone_and_none_when_off() -> None:
    off = {"hflip_p": 0, "affine_p": 0, "blur_p": 0, "light_p": 0, "jpeg_p": 0}
    image = MemorySamples(Split.TRAIN, 2)[2].image
    rng = sample_generator(0, 0, 0, "a")
    assert augment(image, Augment.model_validate(off), rng) is image
    for name in off:
        changed = augment(image, Augment.model_validate(off | {name: 1}), rng)
        assert (changed != image).any(), name
    flipped = augment(image, Augment.model_validate(off | {"hflip_p": 1}), rng)
    assert (flipped == image[:, ::-1]).all()


@pytest.mark.parametrize("size", [24, 48, 96])
def test_resize_keeps_the_mean(size: int) -> None:
    image = MemorySamples(Split.TRAIN, 2)[2].image
    resized = resize(image, size)
    assert resized.shape == (size, size, 3)
    assert resized.mean() == pytest.approx(image.mean(), abs=2)
