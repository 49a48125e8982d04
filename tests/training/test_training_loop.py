from __future__ import annotations

import json
import math
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mmidd.errors import MmiddError, StorageError, UsageError
from mmidd.schema import Split
from mmidd.spec import PreprocessSpec
from mmidd.training import trained
from mmidd.training.best import Best
from mmidd.training.checkpoint import Progress, start_run
from mmidd.training.config import Optim, TrainConfig, Validation
from mmidd.training.data import Batch, TrainingData
from mmidd.training.loop import Loop, TrainResult
from mmidd.training.parallel import open_fabric
from mmidd.training.report import SilentReporter, Step
from mmidd.training.schedule import lr_factor
from mmidd.training.tasks import build_task
from mmidd.training.tasks.base import Features, Group, LossTerms, Scored, Task
from mmidd.training.trained import WEIGHTS, load_run, load_trained, save_weights, trained_state
from mmidd.training.validate import validate
from tests.training.training_world import MemorySample, MemorySamples, memory_data, small_config

SPEC = PreprocessSpec.model_validate({"margin": 1.5})


class Recorder(SilentReporter):
    def __init__(self, on_step: Callable[[int], None] = lambda step: None) -> None:
        self.losses: list[float] = []
        self.validations: list[tuple[int, dict[str, float], bool]] = []
        self.skipped = 0
        self.act = on_step

    def on_step(self, step: Step) -> None:
        self.losses.append(step.terms["total"])
        self.act(step.number)

    def on_skipped(self, step: int, skipped: int) -> None:
        self.skipped = skipped

    def on_validation(self, epoch: int, metrics: Mapping[str, float], is_best: bool) -> None:
        self.validations.append((epoch, dict(metrics), is_best))


def fit(
    config: TrainConfig,
    run_dir: Path,
    reporter: Recorder | None = None,
    resume: bool = False,
    task: Task[Any] | None = None,
    data: TrainingData | None = None,
) -> tuple[TrainResult, Task[Any]]:
    task = task or build_task(config)
    if not resume:
        start_run(run_dir, config, SPEC)
    fabric, data = open_fabric(config), data or memory_data()
    return Loop(task, data, config, run_dir, reporter or Recorder(), fabric).run(resume), task


def log_of(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def losses_of(run_dir: Path) -> list[float]:
    return [line["total"] for line in log_of(run_dir) if line["event"] == "train"]


def no_reasons(reasons: list[str]) -> None:
    assert reasons == []


def stop_at(step: int, number: int) -> Recorder:
    return Recorder(lambda now: os.kill(os.getpid(), number) if now == step else None)


@pytest.mark.parametrize(
    ("method", "setting", "step", "number"),
    [
        ("lnclip", "micro_batch=3", 2, signal.SIGTERM),
        ("sd2", "micro_batch=3", 4, signal.SIGINT),
        ("lnclip", "backbone.shape.stem=conv", 3, signal.SIGTERM),
    ],
)
def test_interrupted_and_resumed_equals_uninterrupted(
    method: str, setting: str, step: int, number: int, tmp_path: Path
) -> None:
    config = small_config(method, setting, "keep={every: 1}")
    whole, expected = fit(config, tmp_path / "whole")
    first, _ = fit(config, tmp_path / "parts", stop_at(step, number))
    assert first.interrupted
    assert first.steps == step
    second, task = fit(config, tmp_path / "parts", resume=True)
    assert not second.interrupted
    assert second.steps == whole.steps == second.total_steps
    for name, tensor in trained_state(expected).items():
        assert torch.equal(tensor, trained_state(task)[name]), name
    logs = [
        [line["total"] for line in log_of(tmp_path / run) if line["event"] == "train"]
        for run in ("whole", "parts")
    ]
    assert logs[0] == logs[1]


@pytest.mark.parametrize(("method", "setting"), [("lnclip", "variant=lnclip-df"), ("sd2", "trainable=lora")])
def test_the_same_run_twice_gives_the_same_losses(method: str, setting: str, tmp_path: Path) -> None:
    curves = []
    for run in ("first", "second"):
        torch.manual_seed(len(run))
        fit(small_config(method, setting, "micro_batch=3"), tmp_path / run)
        curves.append(losses_of(tmp_path / run))
    assert curves[0] == curves[1]


def test_batch_statistics_are_part_of_what_is_learned(tmp_path: Path) -> None:
    config = small_config("lnclip", "backbone.shape.stem=conv", "epochs=1")
    _, task = fit(config, tmp_path)
    images = torch.randint(0, 256, (4, 32, 32, 3), dtype=torch.uint8)
    np.testing.assert_array_equal(load_run(tmp_path).task.score(images).fake, task.score(images).fake)


def test_handlers_of_signals_are_put_back(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    fit(small_config("lnclip", "epochs=1"), tmp_path)
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before


def test_a_finished_run_is_not_trained_further(tmp_path: Path) -> None:
    config = small_config("lnclip", "epochs=1")
    first, _ = fit(config, tmp_path)
    recorder = Recorder()
    again, _ = fit(config, tmp_path, recorder, resume=True)
    assert (again, recorder.losses) == (first, [])


@pytest.mark.parametrize("method", ["lnclip", "sd2"])
def test_both_methods_learn_a_visible_square(method: str, tmp_path: Path) -> None:
    config = small_config(
        method, "epochs=100", "max_steps=60", "optim.lr=5e-3", "optim.new_lr=2e-2", "augment={affine_p: 0}"
    )
    result, _ = fit(config, tmp_path)
    assert result.video_auc == 1.0


def test_the_best_epoch_is_what_is_kept_and_loaded(tmp_path: Path) -> None:
    recorder, data = Recorder(), memory_data()
    result, _ = fit(small_config("lnclip", "epochs=4"), tmp_path, recorder, data=data)
    best = [epoch for epoch, _, is_best in recorder.validations if is_best][-1]
    metrics = recorder.validations[best][1]
    assert (result.best_epoch, result.video_auc) == (best, metrics["video_auc"])
    assert metrics["video_auc"] == max(m["video_auc"] for _, m, _ in recorder.validations)
    run = load_run(tmp_path)
    assert validate(run.task, data.val, Validation(), 8, no_reasons) == pytest.approx(metrics)
    assert (run.method, run.spec.margin) == ("lnclip", 1.5)
    crops = [np.zeros((60, 60, 3), np.uint8), np.full((256, 200, 3), 90, np.uint8)]
    assert run.score(crops).fake.shape == (2,)


def test_video_auc_is_that_of_the_mean_over_frames() -> None:
    data = memory_data()
    task = build_task(small_config("lnclip"))
    frames = task.score(task.prepare([data.val[i].image for i in range(len(data.val))])).fake
    means, labels = frames.reshape(-1, 2).mean(axis=1), np.array([n % 5 > 0 for n in range(10)])
    wins = [(f > r) + 0.5 * (f == r) for f in means[labels] for r in means[~labels]]
    assert validate(task, data.val, Validation(), 3, no_reasons)["video_auc"] == pytest.approx(np.mean(wins))


class Broken(Task[TrainConfig]):
    """Gives a loss that is not finite at the steps named."""

    def __init__(self, config: TrainConfig, bad: set[int]) -> None:
        super().__init__(config, 32)
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.bad, self.calls = bad, 0

    def forward(self, batch: Batch) -> Features:
        return {"x": self.weight.expand(len(batch))}

    def losses(self, features: Features, batch: Batch, generator: torch.Generator) -> LossTerms:
        self.calls += 1
        factor = math.nan if self.calls in self.bad else 1.0
        return LossTerms(features["x"].mean() * factor, {})

    def score_pixels(self, images: torch.Tensor) -> Scored:
        return Scored(images.float().mean(dim=(1, 2, 3)) / 255)

    def groups(self) -> list[Group]:
        return [Group(1e-2, [self.weight])]


class Shades(MemorySamples):
    """Frames of one colour, which `Broken` scores as it is bright."""

    def __init__(self, frames: list[tuple[str, float]]) -> None:
        super().__init__(Split.VAL, 1)
        row = self.samples[0].row
        self.samples = [
            MemorySample(
                f"{video} {shade}",
                np.full((48, 48, 3), round(255 * shade), np.uint8),
                {**row, "label": video[:4], "type": "REAL" if video == "real" else "FS", "video_id": video},
            )
            for video, shade in frames
        ]


def test_a_step_that_is_not_finite_is_skipped_counted_and_logged(tmp_path: Path) -> None:
    config, recorder = small_config("lnclip", "epochs=1"), Recorder()
    result, task = fit(config, tmp_path, recorder, task=Broken(config, {2}))
    assert (result.skipped, recorder.skipped) == (1, 1)
    assert len(recorder.losses) == result.total_steps - 1
    assert all(p.isfinite().all() for p in task.parameters())
    events = [line["event"] for line in log_of(tmp_path)]
    assert events.count("skipped") == 1


def test_too_many_such_steps_in_a_row_end_the_run(tmp_path: Path) -> None:
    config = small_config("lnclip", "epochs=9", "max_bad_steps=3")
    with pytest.raises(MmiddError, match=r"optim\.lr"):
        fit(config, tmp_path, task=Broken(config, set(range(3, 99))))


def test_bad_runs_are_one_line(tmp_path: Path) -> None:
    config = small_config("lnclip", "epochs=1")
    fit(config, tmp_path)
    with pytest.raises(UsageError, match="already holds a run"):
        fit(config, tmp_path)
    with pytest.raises(UsageError, match="another configuration"):
        fit(small_config("lnclip", "epochs=3"), tmp_path, resume=True)
    with pytest.raises(UsageError, match="other data"):
        fit(config, tmp_path, resume=True, data=memory_data(15))
    (tmp_path / "weights.safetensors").write_bytes(b"broken")
    with pytest.raises(UsageError, match="damaged"):
        load_run(tmp_path)
    (tmp_path / "weights.safetensors").unlink()
    with pytest.raises(UsageError, match="has no weights"):
        load_run(tmp_path)


@pytest.mark.parametrize("left", [["spec"], ["config"], []])
def test_a_weights_file_that_does_not_say_what_it_is_counts_as_damaged(
    left: list[str], tmp_path: Path
) -> None:
    config = small_config("lnclip").model_dump(mode="json")
    whole = {"spec": SPEC.model_dump(mode="json"), "config": config}
    header = {"mmidd": json.dumps({name: whole[name] for name in left})} if left else {}
    save_file({"x": torch.ones(1)}, tmp_path / WEIGHTS, header)
    with pytest.raises(UsageError, match=r"is damaged .* train it again") as caught:
        load_run(tmp_path)
    assert "\n" not in str(caught.value)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    fit(small_config("lnclip", "epochs=1"), tmp_path)
    other = build_task(small_config("sd2"))
    with pytest.raises(UsageError, match="do not fit"):
        load_trained(other, trained_state(load_run(tmp_path).task))


def test_a_failed_write_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = small_config("lnclip", "epochs=1")
    _, task = fit(config, tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    def full(tensors: object, path: Path, about: object) -> None:
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(trained, "save_file", full)
    with pytest.raises(StorageError, match="disk is full"):
        save_weights(tmp_path / WEIGHTS, config, SPEC, trained_state(task))
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_saved_weights_are_only_what_was_trained(tmp_path: Path) -> None:
    fit(small_config("lnclip", "epochs=1", "trainable=layernorm"), tmp_path)
    assert len(load_file(tmp_path / "weights.safetensors")) == 2 * (2 + 2 * 2) + 2


def test_the_schedule_warms_up_and_decays_in_each_cycle() -> None:
    optim = Optim(lr=3e-4, min_lr=1e-5, warmup=0.1, cycle_epochs=10)
    factors = [lr_factor(step, 200, 10, optim) for step in range(200)]
    assert factors[:100] == factors[100:]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == factors[10] == 1
    assert factors[55] == pytest.approx((1 + 1 / 30) / 2)
    assert factors[99] == pytest.approx(1 / 30, abs=1e-3)
    assert np.diff(factors[:10]).min() > 0 > np.diff(factors[10:100]).max()
    flat = Optim(lr=1.0, min_lr=1.0, warmup=0)
    assert {lr_factor(step, 7, 3, flat) for step in range(7)} == {1.0}


def test_states_and_epochs_are_kept_as_the_settings_say(tmp_path: Path) -> None:
    recorder = Recorder()
    config = small_config("lnclip", "epochs=5", "keep={every: 1, states: 3, epochs: 2}", "optim.lr=1e-2")
    result, _ = fit(config, tmp_path, recorder)
    states = sorted(path.name for path in (tmp_path / "state").iterdir())
    assert states == [f"step-{step:08d}.pt" for step in range(result.steps - 2, result.steps + 1)]
    ranked = sorted(
        recorder.validations, key=lambda one: (-one[1]["video_auc"], -one[1]["frame_auc"], one[0])
    )
    kept = sorted(path.name for path in (tmp_path / "epochs").iterdir())
    assert kept == sorted(f"epoch-{epoch:03d}.safetensors" for epoch, _, _ in ranked[:2])
    best = tmp_path / "epochs" / f"epoch-{result.best_epoch:03d}.safetensors"
    assert best.read_bytes() == (tmp_path / "weights.safetensors").read_bytes()


def test_a_weights_file_alone_is_a_detector(tmp_path: Path) -> None:
    _, task = fit(small_config("sd2", "epochs=1", "labels.REAL=[a plain face]"), tmp_path / "run")
    alone = (tmp_path / "run" / "weights.safetensors").rename(tmp_path / "sd2.safetensors")
    run = load_run(alone)
    assert (run.method, run.spec) == ("sd2", SPEC)
    assert run.config.model_dump()["labels"]["REAL"] == ("a plain face",)
    crop = np.full((40, 40, 3), 90, np.uint8)
    np.testing.assert_array_equal(run.score([crop]).fake, task.score(task.prepare([crop])).fake)


def test_the_moving_average_is_what_is_validated_and_kept(tmp_path: Path) -> None:
    config = small_config("lnclip", "epochs=1", "optim.ema=0.9", "optim.lr=1e-2")
    _, task = fit(config, tmp_path)
    state = torch.load(next((tmp_path / "state").iterdir()), weights_only=True)
    kept = load_run(tmp_path).task
    for name, tensor in trained_state(kept).items():
        assert torch.equal(tensor, state["average"][name]), name
        assert torch.equal(state["trained"][name], trained_state(task)[name]), name
    assert any(not torch.equal(state["average"][n], state["trained"][n]) for n in state["trained"])


@pytest.mark.parametrize(("rule", "expected"), [("mean", 0.5), ("median", 1.0), ("max", 0.0)])
def test_validation_follows_the_protocol(rule: str, expected: float) -> None:
    """Against the real, the first fake wins by its median alone, the second by mean and median."""
    videos = {"fake 1": [0.6, 0.6, 0.0], "fake 2": [0.5, 0.5, 0.5], "real": [0.1, 0.4, 0.8]}
    samples = Shades([(video, shade) for video, shades in videos.items() for shade in shades])
    task = Broken(small_config("lnclip"), set())
    protocol = Validation.model_validate({"aggregation": rule})
    metrics = validate(task, samples, protocol, 2, no_reasons)
    assert metrics["video_auc"] == expected
    assert metrics["frame_auc"] == pytest.approx(10 / 18)


def test_selection_follows_the_level_of_the_validation(tmp_path: Path) -> None:
    metrics = [{"video_auc": 0.9, "frame_auc": 0.6}, {"video_auc": 0.8, "frame_auc": 0.7}]
    for level, prefer, expected in (("video", "best", 0), ("frame", "best", 1), ("video", "last", 1)):
        config = small_config("lnclip", f"validation={{level: {level}, prefer: {prefer}}}")
        run_dir = tmp_path / level / prefer
        start_run(run_dir, config, SPEC)
        best = Best(run_dir, config, progress := Progress(), {})
        for progress.epoch, values in enumerate(metrics):
            best.offer(values, {"x": torch.ones(1)}, write=True)
        assert best.epoch == expected
        assert best.video_auc == metrics[expected]["video_auc"]


@pytest.mark.parametrize("method", ["lnclip", "sd2"])
def test_mixed_precision_keeps_losses_and_weights_in_float32(method: str, tmp_path: Path) -> None:
    seen: set[torch.dtype] = set()
    config = small_config(method, "precision=bf16-mixed", "epochs=1", "micro_batch=3")
    task = build_task(config)
    inner = task.losses

    def watched(features: Features, batch: Batch, generator: torch.Generator) -> LossTerms:
        seen.update(x.dtype for x in features.values())
        return inner(features, batch, generator)

    task.losses = watched  # type: ignore[method-assign]
    narrow: set[torch.dtype] = set()
    task.blocks()[0].mlp.c_fc.register_forward_hook(lambda _m, _i, out: narrow.add(out.dtype))  # type: ignore[union-attr]
    result, _ = fit(config, tmp_path, task=task)
    assert (result.steps, result.skipped) == (result.total_steps, 0)
    assert seen == {torch.float32}
    assert torch.bfloat16 in narrow
    assert {p.dtype for p in task.parameters()} == {torch.float32}


def test_no_epochs_validate_and_keep_the_start(tmp_path: Path) -> None:
    config, recorder = small_config("lnclip", "epochs=0"), Recorder()
    result, task = fit(config, tmp_path, recorder)
    assert (result.steps, result.best_epoch, len(recorder.validations)) == (0, 0, 1)
    for name, tensor in trained_state(build_task(config)).items():
        assert torch.equal(tensor, trained_state(task)[name]), name
    assert load_run(tmp_path).method == "lnclip"


def test_a_damaged_state_is_named_and_not_passed_over(tmp_path: Path) -> None:
    config = small_config("lnclip", "keep={every: 1, states: 2}")
    fit(config, tmp_path, stop_at(3, signal.SIGTERM))
    latest = max((tmp_path / "state").iterdir())
    latest.write_bytes(latest.read_bytes()[:100])
    with pytest.raises(UsageError, match=latest.name):
        fit(config, tmp_path, resume=True)
    latest.unlink()
    assert not fit(config, tmp_path, resume=True)[0].interrupted
