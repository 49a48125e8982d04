"""Which samples are captioned, and in what order."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from mmidd.engine import content_id
from mmidd.errors import UsageError
from mmidd.where import matching
from mmidd.workspace import Workspace

_NEEDED = (
    "table",
    "pack",
    "offset",
    "length",
    "sample_id",
    "landmarks",
    "landmark_scheme",
    "crop_matrix",
    "sha256",
)


@dataclass(frozen=True)
class Choice:
    """What the user wants captioned.

    Attributes:
        where: a condition on the columns of the manifest, in SQL.
        share: of the samples, 0 to 1; a sample is in or out by a hash of its id, so that a larger
            share holds a smaller one and new data changes nothing.
        order: columns to sort by.
    """

    where: str | None = None
    share: float = 1.0
    order: tuple[str, ...] = ()


def choose(workspace: Workspace, choice: Choice) -> pl.DataFrame:
    """What a caption needs of every chosen sample.

    Raises:
        UsageError: the condition or the order cannot be read, or no sample is left.
    """
    rows = matching(workspace.samples(), choice.where)
    try:
        if choice.order:
            rows = rows.sort(*choice.order, "sample_id")
        chosen = rows.select(_NEEDED).collect()
    except pl.exceptions.PolarsError as error:
        raise UsageError(f"--where or --order cannot be used: {str(error).splitlines()[0]}") from error
    if choice.share < 1:
        chosen = chosen.filter(
            pl.Series([_in(key, choice.share) for key in chosen["sample_id"]], dtype=pl.Boolean)
        )
    if not chosen.height:
        raise UsageError(
            "no sample is left to caption; run `mmidd ingest` first, or widen --where or --sample"
        )
    return chosen


def _in(sample_id: str, share: float) -> bool:
    return int(content_id("caption sample", sample_id)[:13], 16) < share * 16**13
