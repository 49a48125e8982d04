"""How well a method does with few real images, as in Table 3 of KFD (arXiv 2503.14853).

A run for each number of reals. The reals of a smaller run are among those of every larger one, and all runs
take as many steps: an epoch draws as many pairs in each, since otherwise few images would mean few steps,
and a run would fail for want of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmidd.errors import UsageError
from mmidd.training.checkpoint import CONFIG
from mmidd.training.config import TrainConfig, apply_overrides, load_config

DRAWS = 500
"""Pairs in an epoch where the configuration leaves that open: the largest number of images in the paper."""


@dataclass(frozen=True)
class Trial:
    """A run on so many real images."""

    images: int
    run_dir: Path
    config: TrainConfig

    @property
    def is_begun(self) -> bool:
        """Whether the run is there, finished or not."""
        return (self.run_dir / CONFIG).is_file()


def trials(start: Path, config: TrainConfig, images: Sequence[int]) -> list[Trial]:
    """The runs, fewest images first.

    Args:
        start: of their folders, behind which -IMAGES follows.
        config: that all have in common.
        images: numbers of reals.

    Raises:
        UsageError: the method does not train on reals alone, or a run is there with other settings.
    """
    if not config.online:
        method = config.model_dump()["method"]
        raise UsageError(
            f"{method} needs fakes to train on, so its reals alone do not make it small; take a method that "
            "draws its forgeries online, such as kfd or sbi, or --set online=[sbi]"
        )
    names = {count: start.with_name(f"{start.name}-{count}") for count in sorted({*images})}
    found = [Trial(count, run_dir, _fewer(config, count)) for count, run_dir in names.items()]
    for trial in found:
        if trial.is_begun and load_config(trial.run_dir / CONFIG) != trial.config:
            raise UsageError(
                f"run {trial.run_dir.name} was trained with other settings; give the same, or another --name"
            )
    return found


def _fewer(config: TrainConfig, images: int) -> TrainConfig:
    draws = config.sampling.draws or DRAWS
    return apply_overrides(config, [f"reals={images}", f"sampling.draws={draws}"])
