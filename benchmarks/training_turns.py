"""Contenders in processes of their own that train in turns, so that memory and rounds are each one's own."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

from benchmarks.training_world import World
from mmidd.training.config import TrainConfig, apply_overrides, load_preset

TINY = """backbone={shape: {embed_dim: 64, stem: patch,
  vision: {image_size: 64, patch_size: 8, width: 128, layers: 4, head_width: 32},
  text: {context_length: 32, width: 64, heads: 2, layers: 2}}}"""
LARGE = "backbone={name: ViT-L-14-quickgelu, weights: random}"


@dataclass(frozen=True)
class Job:
    """What all contenders do.

    Attributes:
        method: of the preset `paper`.
        size: `large` is its ViT-L/14 with random weights.
        folder: of the world.
        cuda: on the GPU, or on the CPU.
    """

    method: Literal["lnclip", "sd2"]
    size: Literal["tiny", "large"]
    batch: int
    workers: int
    folder: str
    cuda: bool
    checkpointing: bool

    @property
    def world(self) -> World:
        """The samples."""
        return World(Path(self.folder))

    def config(self, is_compiled: bool = False) -> TrainConfig:
        """The preset `paper` with this job's size."""
        return apply_overrides(
            load_preset(self.method, "paper"),
            [
                LARGE if self.size == "large" else TINY,
                *([] if self.size == "large" else ["adapter_width=128"] * (self.method == "sd2")),
                f"batch={self.batch}",
                f"micro_batch={self.batch}",
                f"workers={self.workers}",
                f"gradient_checkpointing={str(self.checkpointing).lower()}",
                f"compile={str(is_compiled).lower()}",
                "epochs=1000000",
                "keep.every=1000000000",
            ],
        )


class Turns:
    """A contender's side: it trains without end, and waits inside `step` while others have their turn."""

    def __init__(self, is_cuda: bool) -> None:
        self._out = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # what libraries print is no answer
        self.is_cuda = is_cuda
        self._warm = self._left = self._steps = 0
        self._waited = self._start = 0.0

    def ready(self, about: dict[str, Any]) -> None:
        """Everything is built; wait for the first turn."""
        self._answer(about)

    def step(self, waited: float) -> None:
        """A step is done, for whose batch it waited so many seconds."""
        if self._warm:
            self._warm -= 1
            if not self._warm:
                self._begin()
            return
        self._left -= 1
        self._waited += waited
        if not self._left:
            self._finish()

    def _begin(self) -> None:
        if self.is_cuda:
            torch.cuda.synchronize()
            torch.cuda.reset_peak_memory_stats()
        self._waited, self._start = 0.0, time.perf_counter()

    def _finish(self) -> None:
        if self.is_cuda:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - self._start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        if self.is_cuda:
            peak = torch.cuda.max_memory_allocated()
            torch.cuda.empty_cache()  # room for the others
        self._answer({"seconds": seconds, "waited": self._waited / seconds, "bytes": peak})

    def _answer(self, found: dict[str, Any]) -> None:
        self._out.write(json.dumps(found) + "\n")
        self._out.flush()
        question = sys.stdin.readline()
        if not question:
            os._exit(0)  # the benchmark is over
        self._warm, self._left = (int(number) for number in question.split())


class Contender:
    """The benchmark's side; `about` is what the contender says of itself once it is ready."""

    about: dict[str, Any]

    def __init__(self, name: str, module: str, job: Job) -> None:
        self.name = name
        environment = {**os.environ, **({} if job.cuda else {"CUDA_VISIBLE_DEVICES": ""})}
        self._process = subprocess.Popen(
            [sys.executable, "-W", "ignore", "-m", module, name, json.dumps(vars(job))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )

    def wait(self) -> None:
        """Until it is ready."""
        self.about = self._read()

    def round(self, warm: int, steps: int) -> dict[str, float]:
        """`seconds` of so many steps, the share `waited` for data, and `bytes` at the peak."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{warm} {steps}\n")
        self._process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.name} ended with code {self._process.wait()}; see its message above")
        answer: dict[str, Any] = json.loads(line)
        return answer
