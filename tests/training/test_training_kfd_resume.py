"""A stopped run of the detector ends like one that was not stopped, weights and statistics alike."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmidd.schema import Split
from mmidd.training.checkpoint import start_run
from mmidd.training.data import TrainingData
from mmidd.training.loop import Loop
from mmidd.training.online import OnlineSamples
from mmidd.training.parallel import open_fabric
from mmidd.training.tasks import build_task
from mmidd.training.trained import trained_state
from tests.training.kfd_world import kfd_config
from tests.training.test_training_loop import SPEC, Recorder, stop_at
from tests.training.test_training_online import faces

CONFIG = kfd_config("trainable=all", "epochs=2", "batch=4", "micro_batch=2")


def trained(folder: Path, *stops: int | None) -> dict[str, Tensor]:
    """The weights after a run that is stopped after these steps; none goes on to the end."""
    data = TrainingData(
        *(OnlineSamples(faces(split), CONFIG.online, 0) for split in (Split.TRAIN, Split.VAL))
    )
    start_run(folder, CONFIG, SPEC)
    task: Any = None
    for turn, stop in enumerate(stops):
        task, recorder = build_task(CONFIG), stop_at(stop, signal.SIGTERM) if stop else Recorder()
        result = Loop(task, data, CONFIG, folder, recorder, open_fabric(CONFIG)).run(resume=turn > 0)
        assert result.interrupted == (stop is not None)
    return trained_state(task)


def test_interrupted_and_resumed_equals_uninterrupted(tmp_path: Path) -> None:
    whole, parts = trained(tmp_path / "whole", None), trained(tmp_path / "parts", 1, 3, None)
    assert any("running_mean" in name for name in whole)
    assert whole.keys() == parts.keys()
    assert all(torch.equal(tensor, parts[name]) for name, tensor in whole.items())
