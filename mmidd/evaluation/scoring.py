"""Score the samples of a dataset into Parquet files, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mmidd.errors import DataError
from mmidd.evaluation.evidence import EVIDENCE, EVIDENCE_FILE, rows
from mmidd.evaluation.look import BATCH, Scorer, Scores, look
from mmidd.evaluation.row_file import Row, RowFile
from mmidd.evaluation.simulated import Undrawable
from mmidd.files import write_errors
from mmidd.schema import SCORES, ForgeryType, Label, Split
from mmidd.shards.samples import Sample, Samples

_COPIED = ("source", "method", "type", "compression", "split", "video_id", "frame_index", "face_index")

OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class _Progress:
    total: int
    on_progress: OnProgress | None

    def __call__(self, done: int) -> None:
        if self.on_progress is not None:
            self.on_progress(done, self.total)


def score_splits(
    run: Scorer,
    datasets: Sequence[Samples],
    out: Path,
    *,
    batch: int = BATCH,
    answered: Split | None = None,
    on_progress: OnProgress | None = None,
) -> Path:
    """Score every sample of the given splits into one table of schema.SCORES.

    The file appears under its name only when complete, and so does `evidence.parquet` beside it, of a run
    that says more than a score (see `evidence.EVIDENCE`). The identity of a sample is its first identity
    id, the person whose footage it is.

    Args:
        run: the trained detector.
        datasets: splits to score, usually validation and test.
        out: the Parquet file.
        batch: crops per call of the detector.
        answered: split for whose samples a run that talks writes answers; none is none.
        on_progress: called with (samples done, samples in all) after each batch.

    Raises:
        DataError: the detector gave a score that is not in [0, 1].
        StorageError: the file cannot be written.
    """
    progress = _Progress(sum(len(data) for data in datasets), on_progress)
    evidence = out.with_name(EVIDENCE_FILE)
    with write_errors(out, "free space or change --workspace"):
        out.parent.mkdir(parents=True, exist_ok=True)
        with RowFile(out, SCORES) as scores, RowFile(evidence, EVIDENCE, optional=True) as more:
            done = 0
            for samples in _batches(datasets, batch):
                seen = look(run, [sample.image for sample in samples], _split(samples[0]) == answered)
                scores.add(_scored(samples, seen.scores))
                if seen.more_than_scores:
                    more.add(rows(samples, seen))
                done += len(samples)
                progress(done)
    return out


def about(sample: Sample) -> Row:
    """What schema.SCORES has of a sample, without its score and predicted type."""
    row = sample.row
    identities = row.get("identity_ids") or [None]
    return {
        "sample_id": sample.key,
        **{name: row.get(name) for name in _COPIED},
        "identity": identities[0],
        "label": int(Label(row["label"]) is Label.FAKE),
    }


def type_names(types: NDArray[np.float32] | None, count: int) -> list[str | None]:
    """Most probable type per item, None where the method gives no types."""
    if types is None:
        return [None] * count
    names = list(ForgeryType)
    return [names[index].value for index in types.argmax(axis=1)]


def _batches(datasets: Iterable[Samples], size: int) -> Iterator[list[Sample]]:
    for data in datasets:
        samples = _drawable(data)
        while batch := list(islice(samples, size)):
            yield batch


def _drawable(data: Samples) -> Iterator[Sample]:
    for index in range(len(data)):
        with suppress(Undrawable):
            yield data[index]


def _split(sample: Sample) -> Any:
    return sample.row.get("split")


def _scored(samples: Sequence[Sample], scores: Scores) -> Iterator[Row]:
    bad = ~((scores.fake >= 0) & (scores.fake <= 1))
    if bad.any():
        key = samples[int(np.argmax(bad))].key
        raise DataError(
            "bad_score", f"{bad.sum()} of {len(samples)} scores, first of {key}; train the run again"
        )
    predicted = type_names(scores.types, len(samples))
    for sample, score, guess in zip(samples, scores.fake, predicted, strict=True):
        yield {**about(sample), "score": float(score), "predicted_type": guess}
