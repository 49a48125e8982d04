"""Whether attributes follow what was measured on the same picture: brightness, pose, sharpness."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.stats import rankdata, spearmanr

from mmidd.audit.rows import Severity
from mmidd.captioning.audit.association import one_per_video
from mmidd.captioning.audit.rows import Captioned, Findings, Kind, finding_rows

FEWEST = 20
"""Captions from which on a missing association is a finding."""

WEAK = 0.1
"""Rank correlations below it count as absent."""

SIGNIFICANT = 0.05

TABLE = {
    "attribute": pl.String(),
    "measured": pl.String(),
    "rho": pl.Float64(),
    "p": pl.Float64(),
    "n": pl.Int64(),
    "verdict": pl.String(),
}


@dataclass(frozen=True)
class Pairing:
    """An attribute, what it must rise with, and its scale; a value that is not on the scale is left out."""

    attribute: str
    measured: str
    scale: Mapping[str, int] | None = None


PAIRINGS = (
    Pairing("environment.lighting", "brightness", {"dim": 0, "bright": 1}),
    Pairing(
        "face.pose",
        "yaw",
        {"profile left": -2, "turned left": -1, "frontal": 0, "turned right": 1, "profile right": 2},
    ),
    Pairing("face.pose", "pitch", {"looking up": -1, "frontal": 0, "looking down": 1}),
    Pairing("environment.image_quality", "sharpness", {"blurred": 0, "slightly soft": 1, "sharp": 2}),
    Pairing("brightness", "brightness"),
    Pairing("yaw", "yaw"),
    Pairing("pitch", "pitch"),
    Pairing("sharpness", "sharpness"),
)


def pose(landmarks5: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Yaw and pitch as `captioning.measured.Facts` defines them, of five landmarks (N, 10).

    Both are ratios along and across the eye line, so they are the same in frame and in crop pixels.
    """
    p = landmarks5.reshape(-1, 5, 2)
    eyes, nose, mouth = p[:, :2].mean(axis=1), p[:, 2], p[:, 3:].mean(axis=1)
    span = np.maximum(np.linalg.norm(p[:, 1] - p[:, 0], axis=1), 1e-6)
    along = (p[:, 1] - p[:, 0]) / span[:, None]
    down = np.stack([-along[:, 1], along[:, 0]], axis=1)
    yaw = ((nose - eyes) * along).sum(axis=1) / span
    height = np.maximum(np.abs(((mouth - eyes) * down).sum(axis=1)), 1e-6)
    return yaw, ((nose - eyes) * down).sum(axis=1) / height


def agreement(captioned: Captioned, attributes: pl.DataFrame) -> tuple[list[Findings], pl.DataFrame]:
    """Spearman's rank correlation of each attribute with its measurement, over one caption per video.

    Absent and inverted associations are warnings, from `FEWEST` captions on.
    """
    rows = _with_pose(one_per_video(captioned)).join(attributes, on="sample_id", suffix=".said")
    known = [pairing for pairing in PAIRINGS if pairing.attribute in attributes.columns]
    table = pl.DataFrame([_compared(rows, pairing) for pairing in known], schema=TABLE)
    bad = table.filter(pl.col("verdict").is_in(["absent", "inverted"])).with_columns(
        value="rho",
        detail=pl.format("{} and measured {}: {} (n {})", "attribute", "measured", "verdict", "n"),
    )
    return [finding_rows(bad, Kind.MEASURED, pl.col("attribute"), Severity.WARNING)], table


def _with_pose(rows: pl.DataFrame) -> pl.DataFrame:
    known = rows.select("sample_id", "landmarks5").drop_nulls()
    yaw, pitch = pose(np.reshape(known["landmarks5"].to_list(), (-1, 10)).astype(np.float64))
    measured = known.select("sample_id").with_columns(yaw=pl.Series(yaw), pitch=pl.Series(pitch))
    return rows.select("sample_id", "brightness", "sharpness").join(measured, on="sample_id", how="left")


def _compared(rows: pl.DataFrame, pairing: Pairing) -> dict[str, object]:
    said = pl.col(pairing.attribute if pairing.scale else f"{pairing.attribute}.said")
    if pairing.scale:
        said = said.replace_strict(pairing.scale, default=None, return_dtype=pl.Int64)
    both = rows.select(said=said, measured=pairing.measured).drop_nulls()
    rho, p = rank_correlation(both["said"].to_numpy(), both["measured"].to_numpy())
    return {
        "attribute": pairing.attribute,
        "measured": pairing.measured,
        "rho": rho,
        "p": p,
        "n": both.height,
        "verdict": _verdict(rho, p, both.height),
    }


def rank_correlation(a: NDArray[np.generic], b: NDArray[np.generic]) -> tuple[float | None, float | None]:
    """Spearman's rho and its p-value; None where either side is constant or fewer than three are given."""
    if len(a) < 3 or min(len(set(rankdata(side))) for side in (a, b)) < 2:
        return None, None
    found = spearmanr(a, b)
    return float(found.statistic), float(found.pvalue)


def _verdict(rho: float | None, p: float | None, n: int) -> str:
    if n < FEWEST:
        return "too few"
    if rho is None or p is None or abs(rho) < WEAK or p >= SIGNIFICANT:
        return "absent"
    return "follows" if rho > 0 else "inverted"
