from __future__ import annotations

import json
import sys
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mmidd.cli import console, live
from mmidd.errors import MissingExtra, StorageError, UsageError
from mmidd.training.log import Log
from mmidd.training.report import Start, Step, mean_step

TERMS = {"total": 1.25, "type": 0.5, "separation": 0.25, "contrast_face": 0.25, "contrast_environment": 0.25}


def step(number: int = 1, terms: dict[str, float] = TERMS, **changes: Any) -> Step:
    given = {"lr": 5e-7, "samples_per_s": 812.0, "data_wait": 0.031, "memory": 12_300_000_000}
    return Step(number=number, total=20_000, epoch=3, terms=terms, **{**given, **changes})


def entries(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def names(run_dir: Path) -> list[str]:
    return [f"{entry['event']} {entry['step']}" for entry in entries(run_dir)]


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text("method: lnclip\nepochs: 2\n")
    return tmp_path


@given(
    st.lists(
        st.tuples(st.floats(1, 1e4), st.floats(0, 1), st.floats(-10, 10), st.integers(0, 1 << 40)), min_size=1
    )
)
def test_steps_are_averaged_over_their_time(rows: list[tuple[float, float, float, int]]) -> None:
    speed, wait, loss, memory = map(np.array, zip(*rows, strict=True))
    steps = [
        step(i, {"total": r[2]}, samples_per_s=r[0], data_wait=r[1], memory=r[3]) for i, r in enumerate(rows)
    ]
    mean, samples = mean_step(steps), 64
    seconds = samples / speed
    assert mean.samples_per_s == pytest.approx(samples * len(rows) / seconds.sum())
    assert mean.data_wait == pytest.approx((wait * seconds).sum() / seconds.sum())
    assert mean.terms["total"] == pytest.approx(loss.mean())
    assert (mean.memory, mean.number) == (memory.max(), len(rows) - 1)


def test_steps_may_have_different_terms() -> None:
    mean = mean_step([step(0, {"total": 1, "form": 4}), step(1, {"total": 2, "kl": 3}), step(2, {"kl": 5})])
    assert mean.terms == {"kl": 4}


def write(run_dir: Path, *events: tuple[str, int], **options: Any) -> None:
    log = Log(run_dir, **options)
    for event, number in events:
        if event == "train":
            log.write_step(step(number))
        elif event == "unusable":
            log.write_unusable(number, "damaged")
        else:
            log.write(event, number, {"video_auc": 0.5})
    log.close()


def test_a_step_is_logged_as_it_was(run_dir: Path) -> None:
    write(run_dir, ("train", 1))
    facts = {"epoch": 3, "lr": 5e-7, "samples_per_s": 812.0, "data_wait": 0.031, "memory": 12_300_000_000}
    assert entries(run_dir) == [{"event": "train", "step": 1, **TERMS, **facts}]


def test_a_resumed_run_repeats_nothing_and_loses_nothing(run_dir: Path) -> None:
    rest = [("train", 3), ("unusable", 3), ("val", 3), ("train", 4), ("val", 4)]
    whole = [("train", 1), ("unusable", 1), ("train", 2), ("val", 2), *rest]
    write(run_dir, *whole)
    with (run_dir / "metrics.jsonl").open("a") as file:
        file.write('{"event": "tra')
    # The state was saved after step 2, before what else was logged with its number.
    write(run_dir, ("val", 2), *rest, from_step=2)
    assert names(run_dir) == [f"{event} {number}" for event, number in whole]
    board = EventAccumulator(str(run_dir / "tensorboard")).Reload()
    assert [point.step for point in board.Scalars("train/total")] == [1, 2, 3, 4]
    assert [point.step for point in board.Scalars("val/video_auc")] == [2, 3, 4]


def test_a_run_without_a_state_starts_its_log_over(run_dir: Path) -> None:
    write(run_dir, ("train", 1), ("train", 2))
    write(run_dir, ("train", 1), from_step=0)
    assert names(run_dir) == ["train 1"]


def test_a_log_that_cannot_be_written_is_one_line(run_dir: Path) -> None:
    (run_dir / "metrics.jsonl").mkdir()
    with pytest.raises(StorageError, match=r"metrics.jsonl: .*; free space and resume"):
        Log(run_dir)


class _Refused(Exception):
    pass


class StubWandb(SimpleNamespace):
    """Records what the package is asked for."""

    def __init__(self, refuses: bool = False) -> None:
        super().__init__(Error=_Refused, Settings=dict, runs=[], logged=[], finished=0)
        self.refuses = refuses

    def init(self, **options: Any) -> StubWandb:
        if self.refuses:
            raise _Refused("no API key\nconfigured.")
        self.runs.append(options)
        return self

    def log(self, values: dict[str, float], step: int) -> None:
        self.logged.append((step, values))

    def finish(self) -> None:
        self.finished += 1


def test_weights_and_biases_gets_the_same_and_goes_on_in_the_same_run(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub = StubWandb()
    monkeypatch.setitem(sys.modules, "wandb", stub)
    write(run_dir, ("train", 1), ("unusable", 1), ("val", 1), project="faces")
    write(run_dir, ("train", 2), project="faces", from_step=1)
    first, again = stub.runs
    assert first == again
    assert (first["project"], first["config"]) == ("faces", {"method": "lnclip", "epochs": 2})
    assert len(first["id"]) == 32
    assert [number for number, _ in stub.logged] == [1, 1, 2]
    assert stub.logged[0][1]["train/total"] == 1.25
    assert stub.logged[1][1] == {"val/video_auc": 0.5}
    assert stub.finished == 2


def test_weights_and_biases_that_is_absent_or_refuses_is_one_line(
    run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(MissingExtra, match=r"mmidd\[wandb\]"):
        Log(run_dir, project="faces")
    monkeypatch.setitem(sys.modules, "wandb", StubWandb(refuses=True))
    with pytest.raises(UsageError, match="no API key configured; run `wandb login`"):
        Log(run_dir, project="faces")


def shown(width: int, monkeypatch: pytest.MonkeyPatch, terminal: bool = True) -> list[str]:
    """What the view of a run leaves on standard error."""
    screen = Console(
        file=StringIO(), width=width, force_terminal=terminal, color_system=None, legacy_windows=False
    )
    for module in (console, live):
        monkeypatch.setattr(module, "err", screen)
    with live.TrainView(quiet=False) as view:
        view.on_start(Start(20_000, 1_000, 104_450, 303_181_826, "cuda:0", 2, "bf16-mixed"))
        for number in range(1_001, 1_031):
            view.on_step(step(number, {**TERMS, "total": float(number)}))
        view.on_validation(2, {"video_auc": 0.98765, "frame_auc": 0.9}, is_best=True)
    assert isinstance(screen.file, StringIO)
    plain = screen.file.getvalue().replace("\x1b[?25l", "").replace("\x1b[?25h", "")
    return plain.replace("\x1b[1A\x1b[2K", "").replace("\x1b[2K", "").replace("\r", "\n").split("\n")


def test_the_view_fits_80_columns_and_means_the_last_steps(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = shown(80, monkeypatch)
    assert max(map(len, lines)) <= 80
    bar, facts, parts = [line.rstrip() for line in lines if line.strip()][-3:]
    assert bar.startswith("train ━")
    assert "1030/20000 epoch 3 ETA" in bar
    assert facts == "loss 1020.5000  lr 5.0e-07  812.0 samples/s  waits for data 3%  12.3 GB"
    assert parts.startswith("type 0.5000  separation 0.2500  contrast_face 0.2500  contrast_en")
    assert "epoch 2: video_auc 0.9877 frame_auc 0.9000 (best)" in [line.strip() for line in lines]
    assert capsys.readouterr().out == (
        "training 104,450 of 303,181,826 parameters (0.034 %) on cuda:0, 2 ranks, bf16"
        "; going on after step 1,000 of 20,000\n"
    )


@pytest.mark.parametrize("width", [30, 50])
def test_a_narrow_terminal_cuts_lines_and_wraps_none(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [line.rstrip() for line in shown(width, monkeypatch) if line.strip()][-3:]
    assert lines[0].startswith("tr")
    assert lines[1].startswith("loss 1020.5")
    assert lines[2].startswith("type 0.5")
    assert max(map(len, lines)) <= width
    assert lines[2].endswith("…")


def test_without_a_terminal_a_line_comes_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 10_000, 25))
    monkeypatch.setattr(live, "monotonic", lambda: next(clock))
    lines = [line for line in shown(80, monkeypatch, terminal=False) if line.startswith("step ")]
    assert 5 < len(lines) < 15
    assert "loss" in lines[0]
    assert "contrast_environment" in lines[0]


def test_an_unfinished_share_of_a_large_model_is_not_rounded_to_nothing() -> None:
    full = Start(10, 0, 900, 900, "cpu", 1, "32-true")
    assert live.describe(full) == "training 900 of 900 parameters (100.0 %) on cpu, fp32"
    tiny = Start(10, 0, 1, 1_000_000, "cpu", 1, "32-true")
    assert "(0.0001 %)" in live.describe(tiny)
