"""Forgeries drawn in the training stream: what is seen, when, and what cannot be blended."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from mmidd.errors import DataError, UsageError
from mmidd.preprocess.blend.landmarks import face_marks
from mmidd.preprocess.blend.recipe import RecipeName
from mmidd.preprocess.blend.render import finished
from mmidd.preprocess.simulate import simulate_sample
from mmidd.schema import Split
from mmidd.spec import PreprocessSpec
from mmidd.training.checkpoint import start_run
from mmidd.training.config import TrainConfig, apply_overrides, load_preset
from mmidd.training.data import Batch, TrainingData
from mmidd.training.loop import Loop
from mmidd.training.online import OnlineSamples
from mmidd.training.parallel import open_fabric
from mmidd.training.report import SilentReporter
from mmidd.training.tasks import build_task
from tests.preprocess_blend.faces import picture
from tests.training.training_world import MemorySample, MemorySamples, epoch_of, small_config


def faces(split: Split, count: int = 5, bare: int = 0, damaged: int = 0) -> MemorySamples:
    """Reals with landmarks, a fake each; the first `bare` have none, the next `damaged` useless ones."""
    from tests.captioning.test_measured import points

    samples = MemorySamples(split, 0)
    for number in range(count):
        usable = points() if number >= bare + damaged else np.full((68, 2), 9.0)
        row: dict[str, Any] = {
            "label": "real",
            "type": "REAL",
            "video_id": f"{split.value}-{number}",
            "pair_id": f"pair {number}",
            "frame_index": 0,
            "landmarks": None if number < bare else usable.ravel().tolist(),
            "landmark_scheme": None if number < bare else "dlib68",
            "crop_matrix": [1.0, 0, 0, 0, 1, 0],
            "face": "a face",
            "environment": "a room",
        }
        samples.samples.append(MemorySample(f"{split.value}-r{number}", picture(number), row))
        fake = {**row, "label": "fake", "type": "FS", "video_id": f"{split.value}-{number}x"}
        samples.samples.append(MemorySample(f"{split.value}-f{number}", picture(50 + number), fake))
    columns = ("label", "type", "video_id", "pair_id", "frame_index", "landmark_scheme")
    samples.rows = pl.DataFrame(
        [{"key": sample.key, **{name: sample.row[name] for name in columns}} for sample in samples.samples]
    )
    return samples


def online(recipes: tuple[RecipeName, ...] = ("sbi",), seed: int = 0, **unusable: int) -> OnlineSamples:
    return OnlineSamples(faces(Split.TRAIN, **unusable), recipes, seed)


def config(*overrides: str) -> TrainConfig:
    paired = ("online=[sbi]", "sampling={pair: true}", "batch=4", "micro_batch=4")
    return small_config("lnclip", *paired, *overrides)


def test_every_real_is_a_pair_and_no_fake_of_the_data_is_seen() -> None:
    samples = online()
    assert len(samples) == len(samples.rows) == 10
    for index in range(10):
        sample = samples[index]
        row = samples.rows.row(index, named=True)
        assert sample.key == row["key"]
        assert sample.key.startswith(f"train-r{index // 2}")
        assert sample.row["label"] == row["label"] == ("real", "fake")[index % 2]
        assert sample.row["type"] == row["type"] == ("REAL", "FS")[index % 2]
        assert sample.row["video_id"] == row["video_id"]
        assert row["pair_id"] == f"train-r{index // 2}"
        assert sample.row["face"] == "a face"
    assert samples.rows["key"].is_unique().all()


def test_the_pair_is_what_simulate_draws_for_the_epoch() -> None:
    from tests.captioning.test_measured import points

    samples = online(seed=7).at(3)
    blend = finished(simulate_sample(picture(2), face_marks(points(), "dlib68"), "sbi", 7, "train-r2", 3))
    assert np.array_equal(samples[4].image, blend.real)
    assert np.array_equal(samples[5].image, blend.fake)


def test_every_epoch_draws_anew_and_the_same_epoch_the_same() -> None:
    samples = online()
    first, again, next_one = (samples.at(epoch)[1].image for epoch in (0, 0, 1))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, next_one)
    assert samples.at(1).rows.equals(samples.at(0).rows)


def test_several_recipes_share_the_samples_and_tell_their_type() -> None:
    samples = OnlineSamples(faces(Split.TRAIN, 60), ("sbi", "regional"), 0)
    kinds = samples.rows.filter(pl.col("label") == "fake")["type"]
    assert 15 < (kinds == "FS").sum() < 45
    assert set(kinds) == {"FS", "FE"}
    other = samples.at(1).rows.filter(pl.col("label") == "fake")["type"]
    assert not kinds.equals(other), "and change from epoch to epoch"
    for index in range(1, 20, 2):
        assert samples[index].row["type"] == samples.rows["type"][index]


def test_a_batch_holds_pairs_and_worker_processes_change_nothing() -> None:
    data = TrainingData(online(), OnlineSamples(faces(Split.VAL, 3), ("sbi",), 0))
    alone, workers = (epoch_of(data, config(f"workers={n}"), 1) for n in (0, 2))
    assert len(alone) == 3
    seen = [key for batch in alone for key in batch.sample_id]
    assert sorted(seen) == sorted(data.train.rows["key"])
    for batch in alone:
        pairs = list(zip(batch.sample_id[::2], batch.sample_id[1::2], strict=True))
        assert all(fake == f"{real}#online" for fake, real in pairs)
    assert all(torch.equal(a.images, b.images) for a, b in zip(alone, workers, strict=True))


def pairs_of(batch: Batch) -> list[tuple[str, torch.Tensor]]:
    return list(zip(batch.sample_id, batch.images, strict=True))


def test_training_sees_other_forgeries_in_every_epoch() -> None:
    data = TrainingData(online(), OnlineSamples(faces(Split.VAL, 3), ("sbi",), 0))
    plain = config("augment={hflip_p: 0, affine_p: 0, colour_p: 0, jpeg_p: 0, blur_p: 0}")
    first, second = (
        {key: image for b in epoch_of(data, plain, epoch) for key, image in pairs_of(b)} for epoch in (0, 1)
    )
    assert first.keys() == second.keys()
    assert not any(torch.equal(image, second[key]) for key, image in first.items() if "#" in key)


def test_reals_without_landmarks_are_left_out_and_counted() -> None:
    assert (len(online(bare=2)), online(bare=2).left_out) == (6, 2)
    data = TrainingData(online(bare=2), OnlineSamples(faces(Split.VAL, bare=1), ("sbi",), 0))
    assert data.left_out == 3
    with pytest.raises(UsageError, match="no real sample of the train split has landmarks"):
        online(bare=5)


class Noticing(SilentReporter):
    def __init__(self) -> None:
        self.unusable: list[tuple[int, str]] = []

    def on_unusable(self, count: int, why: str) -> None:
        self.unusable.append((count, why))


def test_what_cannot_be_blended_is_skipped_counted_and_logged(tmp_path: Path) -> None:
    data = TrainingData(online(bare=1, damaged=1), OnlineSamples(faces(Split.VAL, 3), ("sbi",), 0))
    settings, reporter = config("epochs=2"), Noticing()
    start_run(tmp_path, settings, PreprocessSpec())
    result = Loop(build_task(settings), data, settings, tmp_path, reporter, open_fabric(settings)).run(
        resume=False
    )
    assert result.unusable == 4, "a twin and a forgery in each of two epochs"
    assert reporter.unusable[0] == (1, "reals without landmarks to blend along")
    assert [count for count, _ in reporter.unusable[1:]] == [1] * 4
    assert all(why.startswith("degenerate_hull") for _, why in reporter.unusable[1:])
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert sum(line["event"] == "unusable" for line in lines) == 4


def test_what_validation_leaves_out_is_counted_too(tmp_path: Path) -> None:
    data = TrainingData(online(), OnlineSamples(faces(Split.VAL, 3, damaged=1), ("sbi",), 0))
    settings, reporter = config("epochs=1"), Noticing()
    start_run(tmp_path, settings, PreprocessSpec())
    result = Loop(build_task(settings), data, settings, tmp_path, reporter, open_fabric(settings)).run(
        resume=False
    )
    assert result.unusable == len(reporter.unusable) == 2


def test_types_are_balanced_as_the_epoch_draws_them() -> None:
    samples = OnlineSamples(faces(Split.TRAIN, 30), ("sbi", "regional"), 0)
    data = TrainingData(samples, OnlineSamples(faces(Split.VAL, 3), ("sbi",), 0))
    settings = config("online=[sbi,regional]", "sampling={by: [type]}", "batch=6", "micro_batch=6")
    for batch in epoch_of(data, settings, 1):
        assert len(set(batch.type.tolist())) == 3
        assert sorted(batch.type.tolist()) == sorted(2 * [*set(batch.type.tolist())])


def test_a_batch_without_any_usable_sample_is_an_error() -> None:
    data = TrainingData(online(damaged=5), OnlineSamples(faces(Split.VAL, 3), ("sbi",), 0))
    with pytest.raises(DataError, match=r"unusable_batch.*degenerate_hull"):
        epoch_of(data, config(), 0)


@pytest.mark.parametrize("method", ["lnclip", "sd2"])
@pytest.mark.parametrize("size", ["tiny", "paper"])
def test_presets_extend_another_preset(method: str, size: str) -> None:
    base, extended = load_preset(method, size), load_preset(method, f"{size}-sbi")
    assert extended.online == ("sbi",)
    changed = {name for name in type(base).model_fields if getattr(base, name) != getattr(extended, name)}
    assert changed <= {"online", "epochs", "sampling", "optim"}
    assert extended.optim.weight_decay == base.optim.weight_decay


def test_online_and_stored_simulations_exclude_each_other() -> None:
    with pytest.raises(UsageError, match="leave simulated at exclude"):
        apply_overrides(load_preset("lnclip", "tiny-sbi"), ["simulated=only"])
    with pytest.raises(UsageError, match="sbi"):
        apply_overrides(load_preset("lnclip", "tiny"), ["online=[sbj]"])
