"""The best epochs of a run, by the protocol of its configuration."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from mmidd.evaluation.protocol import Level
from mmidd.spec import PreprocessSpec
from mmidd.training.checkpoint import SPEC, Progress
from mmidd.training.config import TrainConfig
from mmidd.training.trained import WEIGHTS, save_weights

EPOCHS = "epochs"


class Best:
    """Keeps the weights of the best epochs: `weights.safetensors`, and all of them where several are wanted.

    Epochs are compared by their AUC at the level of `validation`, then by that at the other; or the later one
    is the better.

    Args:
        run_dir: of the run.
        config: says how many are kept.
        progress: of the run; `best` is kept here.
        references: see `Task.references`.
    """

    def __init__(
        self, run_dir: Path, config: TrainConfig, progress: Progress, references: Mapping[str, str]
    ) -> None:
        self._run_dir, self._config, self._progress = run_dir, config, progress
        self._references = references
        by_video = config.validation.level is Level.VIDEO
        self._order = ("video_auc", "frame_auc") if by_video else ("frame_auc", "video_auc")

    @property
    def epoch(self) -> int:
        """Of the best epoch, from 0; -1 before the first."""
        return self._progress.best[0][2] if self._progress.best else -1

    @property
    def video_auc(self) -> float:
        """Of the best epoch; nan before the first."""
        place = self._order.index("video_auc")
        return self._progress.best[0][place] if self._progress.best else float("nan")

    def offer(self, metrics: Mapping[str, float], tensors: Mapping[str, Tensor], write: bool) -> bool:
        """Keep the epoch that was just validated, if it is among the best; says whether it is the best.

        Args:
            metrics: of the validation.
            tensors: the trained ones.
            write: whether this rank writes the files.
        """
        progress, keep = self._progress, self._config.keep.epochs
        first, second = (metrics[name] for name in self._order)
        entry = (first, second, progress.epoch)
        before = progress.best
        progress.best = sorted([*before, entry], key=self._rank)[:keep]
        is_best = progress.best[0] == entry
        if write and is_best:
            self._write(self._run_dir / WEIGHTS, tensors, metrics)
        if write and keep > 1 and entry in progress.best:
            self._write(self._path(progress.epoch), tensors, metrics)
            for _, _, gone in set(before) - set(progress.best):
                self._path(gone).unlink(missing_ok=True)
        return is_best

    def _rank(self, entry: tuple[float, float, int]) -> tuple[float, ...]:
        first, second, epoch = entry
        return (-epoch,) if self._config.validation.prefer == "last" else (-first, -second, epoch)

    def _path(self, epoch: int) -> Path:
        return self._run_dir / EPOCHS / f"epoch-{epoch:03d}.safetensors"

    def _write(self, path: Path, tensors: Mapping[str, Tensor], metrics: Mapping[str, float]) -> None:
        path.parent.mkdir(exist_ok=True)
        spec = PreprocessSpec.model_validate_json((self._run_dir / SPEC).read_bytes())
        save_weights(path, self._config, spec, tensors, metrics, self._references)
