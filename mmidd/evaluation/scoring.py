"""Score the samples of a dataset into a Parquet file, in bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from mmidd.errors import DataError, StorageError
from mmidd.schema import SCORES, ForgeryType, Label, with_version
from mmidd.shards.samples import Sample, Samples

BATCH = 32

_ROW_GROUP = 8192
_COPIED = ("source", "method", "type", "compression", "split", "video_id", "frame_index", "face_index")

Row = dict[str, Any]
OnProgress = Callable[[int, int], None]


class Scores(Protocol):
    """What a run gives for a batch: P(fake) (B,) and type probabilities (B, 5) or None."""

    @property
    def fake(self) -> NDArray[np.float32]: ...  # noqa: D102
    @property
    def types(self) -> NDArray[np.float32] | None: ...  # noqa: D102


class Scorer(Protocol):
    """The part of a trained run that evaluation and detection use."""

    def score(self, crops: Sequence[NDArray[np.uint8]]) -> Scores:
        """Scores of RGB crops (H, W, 3) of any size."""


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
    on_progress: OnProgress | None = None,
) -> Path:
    """Score every sample of the given splits into one table of schema.SCORES.

    The file appears under its name only when complete. The identity of a sample is its first
    identity id, the person whose footage it is.

    Args:
        run: the trained detector.
        datasets: splits to score, usually validation and test.
        out: the Parquet file.
        batch: crops per call of the detector.
        on_progress: called with (samples done, samples in all) after each batch.

    Raises:
        DataError: the detector gave a score that is not in [0, 1].
        StorageError: the file cannot be written.
    """
    progress = _Progress(sum(len(data) for data in datasets), on_progress)
    temporary = out.with_name(f".tmp-{out.name}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write(run, datasets, temporary, batch, progress)
            temporary.replace(out)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise StorageError(
            f"cannot write {out}: {error.strerror or error}; free space or change --workspace"
        ) from error
    return out


def type_names(types: NDArray[np.float32] | None, count: int) -> list[str | None]:
    """Most probable type per item, None where the method gives no types."""
    if types is None:
        return [None] * count
    names = list(ForgeryType)
    return [names[index].value for index in types.argmax(axis=1)]


def _write(run: Scorer, datasets: Iterable[Samples], path: Path, batch: int, progress: _Progress) -> None:
    with pq.ParquetWriter(path, with_version(SCORES)) as writer:
        rows: list[Row] = []
        done = 0
        for samples in _batches(datasets, batch):
            rows += _score(run, samples)
            done += len(samples)
            if len(rows) >= _ROW_GROUP:
                writer.write_table(_table(rows))
                rows = []
            progress(done)
        writer.write_table(_table(rows))


def _batches(datasets: Iterable[Samples], size: int) -> Iterator[list[Sample]]:
    for data in datasets:
        for start in range(0, len(data), size):
            yield [data[index] for index in range(start, min(start + size, len(data)))]


def _score(run: Scorer, samples: Sequence[Sample]) -> Iterator[Row]:
    scores = run.score([sample.image for sample in samples])
    bad = ~((scores.fake >= 0) & (scores.fake <= 1))
    if bad.any():
        key = samples[int(np.argmax(bad))].key
        raise DataError(
            "bad_score", f"{bad.sum()} of {len(samples)} scores, first of {key}; train the run again"
        )
    predicted = type_names(scores.types, len(samples))
    for sample, score, guess in zip(samples, scores.fake, predicted, strict=True):
        row = sample.row
        identities = row.get("identity_ids") or [None]
        yield {
            "sample_id": sample.key,
            **{name: row.get(name) for name in _COPIED},
            "identity": identities[0],
            "label": int(Label(row["label"]) is Label.FAKE),
            "score": float(score),
            "predicted_type": guess,
        }


def _table(rows: Sequence[Row]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), schema=with_version(SCORES))
