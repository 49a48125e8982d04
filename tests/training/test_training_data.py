from __future__ import annotations

import polars as pl
import pytest
import torch

from mmidd.errors import UsageError
from mmidd.schema import Split
from mmidd.training.data import TrainingData, eval_batches
from tests.training.training_world import MemorySamples, epoch_of, memory_data, small_config


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


@pytest.mark.parametrize("sampling", ["{}", "{by: [label]}", "{by: [type], apart: video}", "{pair: true}"])
def test_an_epoch_starts_anywhere_with_the_batches_of_the_whole_epoch(sampling: str) -> None:
    data, config = memory_data(), small_config("sd2", f"sampling={sampling}")
    whole = epoch_of(data, config, 1)
    rest = epoch_of(data, config, 1, start=2)
    assert [batch.sample_id for batch in rest] == [batch.sample_id for batch in whole[2:]]
    assert all(torch.equal(a.images, b.images) for a, b in zip(rest, whole[2:], strict=True))
    assert epoch_of(data, config, 0)[0].sample_id != whole[0].sample_id


def test_worker_processes_change_nothing() -> None:
    data = memory_data()
    alone, workers = (epoch_of(data, small_config("lnclip", f"workers={n}"), 0) for n in (0, 2))
    assert [b.sample_id for b in alone] == [b.sample_id for b in workers]
    assert all(torch.equal(a.images, b.images) for a, b in zip(alone, workers, strict=True))


def test_the_device_renders_what_the_workers_would() -> None:
    data = memory_data()
    settings = ("batch=4", "micro_batch=4", "augment={jpeg_p: 0, blur_p: 1}")
    (there, *_), (here, *_) = (
        epoch_of(data, small_config("lnclip", *settings, f"augment_on={where}"), 0)
        for where in ("device", "cpu")
    )
    assert there.images.shape == (4, 48, 48, 3)
    rendered = there.rendered(32)
    assert rendered.images.shape == here.images.shape == (4, 32, 32, 3)
    assert rendered.sample_id == here.sample_id
    assert not rendered.changes
    assert (rendered.images.float() - here.images.float()).abs().mean() < 1.5


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
