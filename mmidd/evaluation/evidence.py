"""What a run tells of a sample beside its score: where it is forged, the detector's own score, an answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from mmidd.dialogue.reading import named_regions
from mmidd.errors import UsageError
from mmidd.evaluation.look import Seen, Told
from mmidd.evaluation.maps import BINS, locate
from mmidd.evaluation.row_file import Row
from mmidd.schema import Label
from mmidd.shards.samples import Sample

EVIDENCE_FILE = "evidence.parquet"

_NAMES = pa.list_(pa.string())
_COUNTS = pa.list_(pa.int32(), BINS)

EVIDENCE = pa.schema(
    [
        pa.field("sample_id", pa.string(), nullable=False),
        pa.field("detector", pa.float32()),
        pa.field("share", pa.float32()),
        pa.field("iou", pa.float32()),
        pa.field("dice", pa.float32()),
        pa.field("auc", pa.float32()),
        pa.field("forged", _COUNTS),
        pa.field("pristine", _COUNTS),
        pa.field("answer", pa.string()),
        pa.field("complete", pa.bool_()),
        pa.field("said", pa.int8()),
        pa.field("named", _NAMES),
        pa.field("well_formed", pa.bool_()),
        pa.field("explained", pa.float32()),
        pa.field("voted", pa.float32()),
        pa.field("regions", _NAMES),
    ]
)
"""One row per scored sample: P(fake) of a language model's detector; `share` to `pristine` as in
`maps.Located`; the written answer, whether it ended by itself, the label it gives (0 real, 1 fake) and the
regions it names; `well_formed` to `voted` as in `look.Told`; the regions that were forged, where that is
known."""


def rows(samples: Sequence[Sample], seen: Seen) -> Iterator[Row]:
    """Rows of `EVIDENCE`."""
    maps = repeat(None) if seen.scores.maps is None else seen.scores.maps
    detector = repeat(None) if seen.detector is None else seen.detector.tolist()
    answers: Any = repeat(None) if seen.answers is None else seen.answers
    for sample, found, score, answer in zip(samples, maps, detector, answers, strict=False):
        located = {} if found is None else locate(found, getattr(sample, "mask", None))._asdict()
        yield {
            "sample_id": sample.key,
            "detector": score,
            **located,
            **_told(answer),
            "regions": sample.row.get("regions"),
        }


def load_evidence(path: Path) -> pl.DataFrame | None:
    """The evidence beside a scores file, None where the run gave none.

    Raises:
        UsageError: it is not such a table.
    """
    if not path.is_file():
        return None
    try:
        return pl.DataFrame(pq.read_table(path).select(EVIDENCE.names).cast(EVIDENCE))
    except (pa.ArrowException, KeyError) as error:
        raise UsageError(
            f"{path} is no table of evidence ({str(error).splitlines()[0]}); run `mmidd eval` again"
        ) from None


def _told(answer: Told | None) -> Row:
    if answer is None:
        return {}
    return {
        "answer": answer.text,
        "complete": answer.complete,
        "said": None if answer.label is None else int(answer.label is Label.FAKE),
        "named": list(named_regions(answer.text)),
        "well_formed": answer.well_formed,
        "explained": answer.explained,
        "voted": answer.voted,
    }
