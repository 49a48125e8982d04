"""Maps of forged pixels against masks: overlap, pixel AUC, and what is marked in reals."""

from __future__ import annotations

import numpy as np
import polars as pl

from mmidd.evaluation.maps import BINS, histogram_auc
from mmidd.evaluation.measuring import Terms, measure_sums
from mmidd.evaluation.metrics import Floats, ratio
from mmidd.evaluation.protocol import Aggregation, Level
from mmidd.evaluation.results import Measures
from mmidd.evaluation.tables import items, kinds

OVERLAP = ("iou", "dice", "auc")
"""Columns of the evidence that are averaged over images."""


def joined(chosen: pl.DataFrame, evidence: pl.DataFrame) -> pl.DataFrame:
    """Rows of one split of the scores with their cluster and evidence."""
    return items(chosen, Level.FRAME, Aggregation.MEAN).join(evidence, on="sample_id")


def measure_maps(seen: pl.DataFrame, terms: Terms) -> tuple[Measures, ...]:
    """Of forgeries with a mask, by type and method: means over images of `iou`, `dice` and `image_auc`, and
    `pixel_auc` of all their pixels together, from histograms of `maps.BINS` bins.

    Pixels are called forged from P = 0.5 on and are forged from mask 0.3 on; IoU and Dice are means over
    the images whose mask reaches that.
    """  # noqa: D205
    masked = seen.filter(pl.col("forged").is_not_null())
    return tuple(
        measure_sums(kind, name, _values(rows), rows["cluster"], _statistic, terms)
        for kind, name, rows in kinds(masked)
    )


def measure_marked(seen: pl.DataFrame, terms: Terms) -> Measures | None:
    """Of reals: mean share of the pixels that are called forged."""
    reals = seen.filter(pl.col("label") == 0, pl.col("share").is_not_null())
    if reals.is_empty():
        return None
    return measure_sums(
        "all", "real", means(reals, "share"), reals["cluster"], lambda sums: {"share": ratio(*sums.T)}, terms
    )


def means(rows: pl.DataFrame, *columns: str) -> Floats:
    """Values whose sums give means that leave nulls out: of each column, and whether it is defined."""
    parts = [rows[name].cast(pl.Float64).to_numpy() for name in columns]
    return np.stack(
        [side for part in parts for side in (np.nan_to_num(part), ~np.isnan(part))], axis=1
    ).astype(float)


def _values(rows: pl.DataFrame) -> Floats:
    histograms = [np.stack(rows[name].to_list()) for name in ("forged", "pristine")]
    return np.concatenate([means(rows, *OVERLAP), *histograms], axis=1)


def _statistic(sums: Floats) -> dict[str, Floats]:
    iou, iou_count, dice, dice_count, area, area_count = sums[:, : 2 * len(OVERLAP)].T
    forged, pristine = sums[:, -2 * BINS : -BINS], sums[:, -BINS:]
    return {
        "iou": ratio(iou, iou_count),
        "dice": ratio(dice, dice_count),
        "pixel_auc": histogram_auc(forged, pristine),
        "image_auc": ratio(area, area_count),
    }
