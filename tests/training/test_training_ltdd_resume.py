"""Stopped runs of both stages end like those that were not stopped, and only on what they began with."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from mmidd.errors import UsageError
from mmidd.training.checkpoint import start_run
from mmidd.training.config import TrainConfig
from mmidd.training.loop import Loop
from mmidd.training.parallel import open_fabric
from mmidd.training.tasks import build_task
from tests.training.ltdd_world import ltdd_config, rl_config
from tests.training.test_training_loop import SPEC, Recorder, stop_at
from tests.training.training_world import memory_data

FIRST = ltdd_config(epochs=2, batch=8, micro_batch=4)
SECOND = rl_config(epochs=2, batch=8, micro_batch=4, form_steps=2, grpo={"group": 2, "max_new_tokens": 60})


def trained(folder: Path, config: TrainConfig, *stops: int | None) -> Any:
    """The task after a run that is stopped after these steps; none goes on to the end."""
    start_run(folder, config, SPEC)
    task: Any = None
    for turn, stop in enumerate(stops):
        task, recorder = build_task(config), stop_at(stop, signal.SIGTERM) if stop else Recorder()
        result = Loop(task, memory_data(5), config, folder, recorder, open_fabric(config)).run(
            resume=turn > 0
        )
        assert result.interrupted == (stop is not None)
    return task


@pytest.mark.parametrize("config", [FIRST, SECOND], ids=["alignment", "reinforcement"])
def test_interrupted_and_resumed_equals_uninterrupted(config: TrainConfig, tmp_path: Path) -> None:
    whole, parts = trained(tmp_path / "a", config, None), trained(tmp_path / "b", config, 1, 3, None)
    assert all(torch.equal(tensor, parts.learned()[name]) for name, tensor in whole.learned().items())
    assert whole.carried() == parts.carried()
    assert config is FIRST or len(whole.carried()["steps"]) == 2


def test_a_run_does_not_go_on_from_another_base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained(tmp_path, FIRST, 1)
    monkeypatch.setattr("mmidd.training.models.mllm.tiny._SPREAD", 0.16)
    loop = Loop(build_task(FIRST), memory_data(5), FIRST, tmp_path, Recorder(), open_fabric(FIRST))
    with pytest.raises(UsageError, match=r"on another multimodal model: its weights were \w+ and are"):
        loop.run(resume=True)
