"""How much of what a run has learned holds beyond its own data, as LTDD argues it (arXiv 2605.31192).

Three measures of every run, on the data it was trained on and on others: its verdicts; a linear probe on the
features that they rest on, fitted on the training split at home; and how alike these features are to those
of reference runs, such as the frozen specialist and the untuned multimodal model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mmidd.errors import UsageError
from mmidd.evaluation.embedding import FRAMES, Embedder
from mmidd.evaluation.evaluate import dataset_name
from mmidd.evaluation.probe import LinearProbe
from mmidd.evaluation.results import Estimate
from mmidd.evaluation.similarity import linear_cka
from mmidd.recipes.regularisation_table import PROBE, VERDICT, Regularisation, Row, alike
from mmidd.recipes.results import evaluation_of
from mmidd.schema import Split
from mmidd.training.trained import about_run

Say = Callable[[str], None]


@dataclass(frozen=True)
class Data:
    """Shards of the dataset that the runs were trained on, and of others."""

    home: Path | str
    others: Sequence[Path | str]

    def names(self) -> dict[str, Path | str]:
        """All by name, home first.

        Raises:
            UsageError: two have one name.
        """
        everything = [self.home, *self.others]
        named = {dataset_name(where): where for where in everything}
        if len(named) < len(everything):
            raise UsageError(
                f"--test-data names {', '.join(named)} twice, or the data at home; name every folder once"
            )
        return named


def measure_regularisation(
    runs: Sequence[Path],
    references: Sequence[Path],
    data: Data,
    device: str = "cpu",
    frames: int = FRAMES,
    say: Say = lambda _: None,
) -> Regularisation:
    """All measures of all runs; features and evaluations that are there are not computed again.

    Args:
        runs: folders of trained runs.
        references: those that features are compared with.
        data: with a training split at home and a test split of each.
        device: torch device.
        frames: most of a video whose features are taken.
        say: told what is being done.

    Raises:
        UsageError: a run or a split is missing, or a method has no features.
        SpecMismatch: a run was trained on other crops.
    """
    named = data.names()
    for run in dict.fromkeys([*references, *runs]):
        say(f"features of {run.name}")
        _embed(Embedder(run, device, frames), named, learned=run in runs)
    embedders = {run: Embedder(run, device, frames) for run in (*references, *runs)}
    rows = []
    for run in runs:
        say(f"measure {run.name}")
        rows += [
            _verdicts(run, named, device),
            _probe(run, embedders[run], named),
            *_likeness(run, embedders, references, named),
        ]
    return Regularisation(home=dataset_name(data.home), frames=frames, rows=tuple(rows))


def _embed(embedder: Embedder, named: dict[str, Path | str], learned: bool) -> None:
    """Have the features computed, with no more than one run's networks in memory at a time."""
    if learned:
        embedder.of(next(iter(named.values())), Split.TRAIN)
    for where in named.values():
        embedder.of(where, Split.TEST)


def _verdicts(run: Path, named: dict[str, Path | str], device: str) -> Row:
    found = {name: evaluation_of(run, where, device) for name, where in named.items()}
    auc = {name: evaluation.headline.metrics["auc"] for name, evaluation in found.items()}
    return _row(run, VERDICT, auc)


def _probe(run: Path, embedder: Embedder, named: dict[str, Path | str]) -> Row:
    learned = embedder.of(next(iter(named.values())), Split.TRAIN)
    probe = LinearProbe(learned.rows, learned.values)
    tests = {name: embedder.of(where, Split.TEST) for name, where in named.items()}
    return _row(run, PROBE, {name: probe.video_auc(test.rows, test.values) for name, test in tests.items()})


def _likeness(
    run: Path, embedders: dict[Path, Embedder], references: Sequence[Path], named: dict[str, Path | str]
) -> Iterator[Row]:
    for reference in references:
        pair = embedders[run], embedders[reference]
        found = {
            name: _cka(*(embedder.of(where, Split.TEST).values for embedder in pair))
            for name, where in named.items()
        }
        yield _row(run, alike(reference.name), found)


def _cka(first: NDArray[np.float32], second: NDArray[np.float32]) -> Estimate:
    value = linear_cka(first, second)
    return Estimate(value=None if math.isnan(value) else value, low=None, high=None)


def _row(run: Path, measure: str, values: dict[str, Estimate]) -> Row:
    method = about_run(run).config.model_dump()["method"]
    return Row(run=run.name, method=method, measure=measure, values=values)
