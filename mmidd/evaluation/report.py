"""One self-contained HTML file per evaluation: no script, no address, light and dark."""

from __future__ import annotations

import base64
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from io import BytesIO
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import polars as pl
from markupsafe import Markup
from PIL import Image

from mmidd import __version__
from mmidd.evaluation import plots
from mmidd.evaluation.curves import sheets
from mmidd.evaluation.details import details
from mmidd.evaluation.exhibits import Exhibit
from mmidd.evaluation.metrics import METRICS
from mmidd.evaluation.protocol import Level
from mmidd.evaluation.results import Estimate, Evaluation
from mmidd.evaluation.tables import items, of_split
from mmidd.evaluation.view import label, notes, shown
from mmidd.schema import ForgeryType
from mmidd.shards.samples import Samples

SHOTS = 8
"""Thumbnails per class on the contact sheet."""

_SIDE = 144
_PACKAGES = (
    "torch",
    "open-clip-torch",
    "numpy",
    "polars",
    "pyarrow",
    "scikit-learn",
    "av",
    "dlib-bin",
    "opencv-python-headless",
)

Figures = list[tuple[str, Markup]]


@dataclass(frozen=True)
class Shot:
    """A thumbnail: base64 JPEG, and the video's score, name, group and whether it is misjudged."""

    jpeg: str
    name: str
    group: str
    score: float
    wrong: bool


def write_report(
    path: Path,
    evaluation: Evaluation,
    scores: pl.DataFrame,
    samples: Samples | None,
    run_dir: Path,
    entries: pl.DataFrame | None = None,
    exhibits: Sequence[tuple[str, Sequence[Exhibit]]] = (),
) -> Path:
    """Write the report of an evaluation, whole or not at all.

    Args:
        path: the HTML file.
        evaluation: the numbers.
        scores: the scores they derive from.
        samples: the evaluated split for thumbnails; None leaves the contact sheet out.
        run_dir: the run folder, for its configuration and training curves where present.
        entries: rows of all splits of the dataset (`shards.index.ENTRIES`), for what it holds.
        exhibits: samples with their maps, by title.
    """
    head = evaluation.headline
    table = {
        level: items(of_split(scores, head.protocol.split), level, head.protocol.aggregation)
        for level in Level
    }
    config = run_dir / "config.yaml"
    verdict, meaning = _verdict(evaluation)
    html = (
        _environment()
        .get_template("report.html.j2")
        .render(
            evaluation=evaluation,
            head=head,
            verdict=verdict,
            meaning=meaning,
            tiles=_tiles(evaluation),
            tables=[(level, shown(evaluation.at(level))) for level in (Level.VIDEO, Level.FRAME)],
            metrics=METRICS,
            notes=notes,
            figures=_figures(evaluation, table),
            sheets=[] if samples is None else _sheets(evaluation, table[Level.VIDEO], samples),
            unit="videos",
            details=details(evaluation),
            exhibits=exhibits,
            curves=[
                (one.caption, Markup(plots.lines(one.name, one.series, one.axis)))
                for one in sheets(run_dir / "metrics.jsonl")
            ],
            types=[kind.value for kind in ForgeryType],
            mixture=[] if entries is None else mixture(entries),
            config=config.read_text(encoding="utf-8") if config.exists() else "",
            environment=_versions(),
            version=__version__,
        )
    )
    temporary = path.with_name(f".tmp-{path.name}")
    temporary.write_text(html, encoding="utf-8")
    return temporary.replace(path)


def mixture(entries: pl.DataFrame) -> list[dict[str, Any]]:
    """Videos, and samples of every type, by source and split; simulations under their recipe."""
    named = entries.with_columns(
        source=pl.when(pl.col("recipe").is_null())
        .then("source")
        .otherwise(pl.format("simulated: {}", "recipe"))
    )
    counts = [(pl.col("type") == kind.value).sum().alias(kind.value) for kind in ForgeryType]
    videos = pl.col("video_id").n_unique().alias("videos")
    return named.group_by("source", "split").agg(videos, *counts).sort("source", "split").to_dicts()


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mmidd.evaluation"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )
    environment.filters.update(share=_share, bounds=_bounds, label=label)
    return environment


def _verdict(evaluation: Evaluation) -> tuple[str, str]:
    """The one line a reader takes home, and what it means in plain words."""
    head = evaluation.headline
    auc, balanced = head.metrics["auc"], head.metrics["balanced_accuracy"]
    counts = f"{head.reals + head.fakes} videos ({head.reals} real, {head.fakes} fake)"
    if auc.value is None:
        return f"No verdict on {counts}", f"A detector cannot be judged on one class: {head.note}."
    verdict = f"Video AUC {auc.value:.3f} {_bounds(auc)} on {counts}"
    meaning = (
        f"In {auc.value:.0%} of all pairs of a fake and a real video the fake has the higher score; 50% is "
        f"chance. At the decision threshold {balanced.value or 0:.0%} of the videos are judged correctly, "
        "both classes counted equally."
    )
    return verdict, meaning


def _tiles(evaluation: Evaluation) -> list[tuple[str, Estimate]]:
    video, frame = evaluation.headline.metrics, evaluation.at(Level.FRAME)[0].metrics
    return [
        ("video AUC", video["auc"]),
        ("video AP", video["ap"]),
        ("video EER", video["eer"]),
        ("video balanced accuracy", video["balanced_accuracy"]),
        ("frame AUC", frame["auc"]),
    ]


def _figures(evaluation: Evaluation, table: dict[Level, pl.DataFrame]) -> Figures:
    arrays = {level: (rows["label"].to_numpy(), rows["score"].to_numpy()) for level, rows in table.items()}
    figures: Figures = []
    if evaluation.headline.metrics["auc"].value is not None:
        svg = plots.roc({f"{level}s": arrays[level] for level in (Level.VIDEO, Level.FRAME)})
        figures.append(("ROC: the further to the top left, the better.", Markup(svg)))
    for level in (Level.VIDEO, Level.FRAME):
        svg = plots.histogram(*arrays[level], evaluation.threshold.at(level), f"{level}s")
        figures.append((f"Scores of {level}s; right of the dashed line is called fake.", Markup(svg)))
    if evaluation.calibration:
        svg = plots.reliability({f"{one.level}s": one.bins for one in evaluation.calibration})
        figures.append(
            ("How often items of a score are fake; on the dotted line as often as it says.", Markup(svg))
        )
    if evaluation.confusion is not None:
        figures.append(
            (
                "Which forgery type is seen in which videos (majority of frames).",
                Markup(plots.confusion(evaluation.confusion)),
            )
        )
    return figures


def _sheets(evaluation: Evaluation, videos: pl.DataFrame, samples: Samples) -> list[tuple[str, list[Shot]]]:
    position = {key: index for index, key in enumerate(samples.rows["key"])}
    threshold = evaluation.threshold.video
    sheets = []
    for value, title, descending in (
        (1, "Fakes with the lowest scores", False),
        (0, "Reals with the highest scores", True),
    ):
        rows = videos.filter(pl.col("label") == value).sort(
            "score", "sample_id", descending=[descending, False]
        )
        shots = [
            Shot(
                jpeg=_thumbnail(samples[position[row["sample_id"]]].image),
                name=row["video_key"],
                group=" · ".join(part for part in (row["source"], row["type"], row["method"]) if part),
                score=row["score"],
                wrong=(row["score"] >= threshold) != bool(value),
            )
            for row in rows.head(SHOTS).iter_rows(named=True)
        ]
        if shots:
            sheets.append((title, shots))
    return sheets


def _thumbnail(image: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> str:
    picture = Image.fromarray(image)
    picture.thumbnail((_SIDE, _SIDE))
    out = BytesIO()
    picture.save(out, "JPEG", quality=85)
    return base64.b64encode(out.getvalue()).decode()


def _versions() -> str:
    lines = [f"mmidd {__version__}", f"Python {platform.python_version()}", platform.platform()]
    for package in _PACKAGES:
        try:
            lines.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            lines.append(f"{package} not installed")
    return "\n".join(lines)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _bounds(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f"[{estimate.low:.3f}, {estimate.high:.3f}]"
