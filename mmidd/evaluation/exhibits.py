"""Samples to look at: image, true mask, map, and what was said."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import Image

from mmidd.evaluation.heatmap import overlay
from mmidd.evaluation.look import Scorer
from mmidd.shards.samples import Sample, Samples

COUNT = 4
"""Samples of each kind."""

_SIDE = 224
_QUALITY = 88


@dataclass(frozen=True)
class Exhibit:
    """Pictures by name as base64 JPEG, and what is known of the sample by name."""

    pictures: tuple[tuple[str, str], ...]
    facts: tuple[tuple[str, str], ...]
    answer: str


def exhibits(
    run: Scorer, samples: Samples, scores: pl.DataFrame, evidence: pl.DataFrame | None
) -> list[tuple[str, list[Exhibit]]]:
    """By title: forgeries that were located best and worst, and reals with most and fewest pixels marked.

    Without masks, fakes are in the order of their score; without maps there is nothing to see.

    Args:
        run: gives the maps again, which are not stored.
        samples: the reported split.
        scores: of that split.
        evidence: of its samples.
    """
    if evidence is None:
        return []
    seen = scores.join(evidence, on="sample_id").filter(pl.col("share").is_not_null())
    position = {key: index for index, key in enumerate(samples.rows["key"])}
    sheets = []
    for title, rows in _chosen(seen):
        shown = [
            _exhibit(run, samples[position[row["sample_id"]]], row) for row in rows.iter_rows(named=True)
        ]
        sheets.append((title, shown))
    return sheets


def _chosen(seen: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Titles and rows, every sample once."""
    fakes, reals = (seen.filter(pl.col("label") == label) for label in (1, 0))
    located = fakes.filter(pl.col("iou").is_not_null())
    groups = [
        (reals, "share", ("Reals with most pixels called forged", "Reals with fewest pixels called forged")),
        (located, "iou", ("Forgeries that were located best", "Forgeries that were located worst"))
        if len(located)
        else (fakes, "score", ("Fakes with the highest scores", "Fakes with the lowest")),
    ]
    for rows, column, titles in reversed(groups):
        ordered = rows.sort(column, "sample_id", descending=[True, False])
        best = min(COUNT, -(-len(ordered) // 2))
        for title, part in zip(titles, (ordered[:best], ordered[best:][-COUNT:][::-1]), strict=True):
            if len(part):
                yield title, part


def _exhibit(run: Scorer, sample: Sample, row: dict[str, Any]) -> Exhibit:
    found = run.score([sample.image]).maps
    mask: NDArray[np.uint8] | None = getattr(sample, "mask", None)
    pictures = {"image": sample.image}
    if mask is not None:
        pictures["true mask"] = np.repeat(mask[..., None], 3, axis=2)
    if found is not None:
        pictures["map"] = overlay(sample.image, found[0])
    return Exhibit(
        tuple((name, _jpeg(picture)) for name, picture in pictures.items()),
        tuple(_facts(row)),
        row["answer"] or "",
    )


def _facts(row: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "P(fake)", f"{row['score']:.3f}"
    for name, title in (("detector", "detector"), ("iou", "IoU"), ("share", "called forged")):
        if row[name] is not None:
            yield title, f"{row[name]:.3f}"
    if row["regions"]:
        yield "forged", ", ".join(row["regions"])
    if row["method"]:
        yield "method", row["method"]


def _jpeg(picture: NDArray[np.uint8]) -> str:
    out = BytesIO()
    shrunk = cv2.resize(picture, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
    Image.fromarray(np.asarray(shrunk, np.uint8)).save(out, "JPEG", quality=_QUALITY)
    return base64.b64encode(out.getvalue()).decode()
