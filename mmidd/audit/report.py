"""The audit as one self-contained HTML file: no script, no address, light and dark."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import jinja2
import polars as pl
from PIL import Image

from mmidd import __version__
from mmidd.audit.rows import Findings, Kind, Severity
from mmidd.errors import DataError
from mmidd.files import TEMPORARY
from mmidd.workspace import Workspace

SHEETS = {
    Kind.CONFLICT: "Contradicting labels",
    Kind.LEAK: "Shared between splits",
    Kind.NEAR_DUPLICATE: "Near duplicates",
    Kind.DUPLICATE: "Exact duplicates",
}
"""Kinds whose worst findings are shown side by side."""

SHOWN = 24
"""Pairs per sheet, and rows per table."""

MEANING = {
    Kind.LEAK: "the same video, original, person, material or bytes in more than one split",
    Kind.CONFLICT: "the same picture with different labels or types",
    Kind.DUPLICATE: "byte-identical files or crops of different videos",
    Kind.NEAR_DUPLICATE: "perceptual hashes of different originals that differ in few bits",
    Kind.OVERLAP: "material that two sources declare to share",
    Kind.MASK: "masks that disagree with the label or with the faces",
    Kind.UNREADABLE: "files that gave nothing, by reason",
    Kind.COVERAGE: "videos with fewer usable frames than wanted",
    Kind.BALANCE: "samples per source, split and type",
}

_SIDE = 128


@dataclass(frozen=True)
class Picture:
    """One side of a pair: base64 JPEG, empty where the crop cannot be read, and what it is."""

    jpeg: str
    group: str
    video: str


@dataclass(frozen=True)
class Pair:
    """Two samples of a finding side by side."""

    title: str
    severity: str
    sides: tuple[Picture, Picture]


def write_report(
    path: Path, workspace: Workspace, found: Findings, samples: pl.LazyFrame, radius: int
) -> None:
    """Write the report of an audit, whole or not at all.

    Args:
        path: the HTML file.
        workspace: where the crops are.
        found: the findings, the worst first.
        samples: the samples that were looked at.
        radius: of the near-duplicate search.
    """
    shown = {kind: _worst(found, kind) for kind in SHEETS}
    crops = _crops(samples, list(shown.values()))
    html = (
        _environment()
        .get_template("audit.html.j2")
        .render(
            name=workspace.root.resolve().name,
            version=__version__,
            radius=radius,
            verdict=_verdict(found),
            summary=_summary(found),
            sheets=[
                (SHEETS[kind], [_pair(workspace, row, crops) for row in rows.iter_rows(named=True)])
                for kind, rows in shown.items()
                if rows.height
            ],
            balance=found.filter(pl.col("check") == "count")
            .sort("a_source", "a_split", "a_label", "a_type")
            .to_dicts(),
            tables=[
                (kind.value, MEANING[kind], *_table(found, kind)) for kind in Kind if kind is not Kind.BALANCE
            ],
        )
    )
    temporary = path.with_name(TEMPORARY + path.name)
    temporary.write_text(html, encoding="utf-8")
    temporary.replace(path)


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("mmidd.audit"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
    )


def _worst(found: Findings, kind: Kind) -> Findings:
    two = pl.col("a_id").is_not_null() & pl.col("b_id").is_not_null()
    return found.filter((pl.col("kind") == kind.value) & two).head(SHOWN)


def _verdict(found: Findings) -> str:
    counts = {level: found.filter(pl.col("severity") == level.value).height for level in Severity}
    if not counts[Severity.ERROR] and not counts[Severity.WARNING]:
        return "Nothing is wrong"
    return f"{counts[Severity.ERROR]:,} errors and {counts[Severity.WARNING]:,} warnings"


def _summary(found: Findings) -> list[dict[str, Any]]:
    counts = {
        (kind, severity): count
        for kind, severity, count in found.group_by("kind", "severity").len().iter_rows()
    }
    return [
        {"kind": kind.value, "meaning": MEANING[kind]}
        | {level.value: counts.get((kind.value, level.value), 0) for level in Severity}
        for kind in Kind
    ]


def _table(found: Findings, kind: Kind) -> tuple[int, list[dict[str, Any]]]:
    of_kind = found.filter(pl.col("kind") == kind.value)
    return of_kind.height, of_kind.head(SHOWN).to_dicts()


def _crops(samples: pl.LazyFrame, shown: list[Findings]) -> dict[str, dict[str, Any]]:
    """Where the bytes of the shown samples lie, by `sample_id`."""
    ids = pl.concat([frame[name] for frame in shown for name in ("a_id", "b_id")]).unique()
    where = samples.select("sample_id", "table", "pack", "offset", "length")
    rows = where.filter(pl.col("sample_id").is_in(ids.implode())).collect()
    return {row["sample_id"]: row for row in rows.iter_rows(named=True)}


def _pair(workspace: Workspace, row: dict[str, Any], crops: dict[str, dict[str, Any]]) -> Pair:
    facts = [row["check"].replace("_", " ")]
    if row["distance"] is not None:
        facts.append(f"{row['distance']} bits")
    facts += [row["detail"]] if row["detail"] else []
    sides = tuple(
        Picture(
            jpeg=_thumbnail(workspace, crops.get(row[f"{side}_id"])),
            group=" · ".join(row[f"{side}_{name}"] or "" for name in ("source", "split", "type")),
            video=row[f"{side}_video"] or "",
        )
        for side in "ab"
    )
    return Pair(", ".join(facts), row["severity"], (sides[0], sides[1]))


def _thumbnail(workspace: Workspace, row: dict[str, Any] | None) -> str:
    if row is None:
        return ""
    try:
        data = workspace.read_blob(row["table"], row["pack"], row["offset"], row["length"])
        picture = Image.open(BytesIO(data)).convert("RGB")
    except (DataError, OSError, Image.DecompressionBombError):
        return ""
    picture.thumbnail((_SIDE, _SIDE))
    out = BytesIO()
    picture.save(out, "JPEG", quality=85)
    return base64.b64encode(out.getvalue()).decode()
