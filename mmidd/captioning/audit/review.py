"""The review page: a stratified sample of captions beside their images, judged in the browser."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import polars as pl
from PIL import Image

from mmidd.captioning.audit.decisions import digest
from mmidd.captioning.audit.rows import VIDEO, Captioned
from mmidd.errors import DataError
from mmidd.workspace import Workspace

SIDE = 256
"""Side of the images, at most."""

STRATA = ("source", "type")


@dataclass(frozen=True)
class Card:
    """One caption to judge; what `hidden` tells is shown on demand only."""

    sample_id: str
    caption: str
    jpeg: str
    face: str
    environment: str
    attributes: list[tuple[str, str]]
    hidden: str


def shares(sizes: Mapping[tuple[str, ...], int], most: int) -> dict[tuple[str, ...], int]:
    """How many to draw of each stratum: equal shares, and what small strata leave goes to the others."""
    left, drawn = most, {}
    order = sorted(sizes, key=lambda stratum: (sizes[stratum], stratum))
    for place, stratum in enumerate(order):
        drawn[stratum] = min(sizes[stratum], left // (len(order) - place))
        left -= drawn[stratum]
    return drawn


def draw(rows: pl.DataFrame, most: int, seed: int) -> pl.DataFrame:
    """At most so many rows, in equal shares by source and type, of as many videos as there are.

    The order is that of a seeded hash, so that it tells nothing of the strata.
    """
    keys = [hashlib.sha256(f"{seed} {name}".encode()).hexdigest() for name in rows["sample_id"]]
    shuffled = rows.with_columns(key=pl.Series(keys, dtype=pl.String)).sort("key")
    lap = shuffled.with_columns(lap=pl.int_range(pl.len()).over(VIDEO))
    counts = rows.group_by(*STRATA).len()
    wanted = shares({row[:-1]: row[-1] for row in counts.iter_rows()}, most)
    parts = [
        part.sort("lap", "key").head(wanted[stratum])
        for stratum, part in lap.partition_by(*STRATA, as_dict=True).items()
    ]
    return pl.concat([lap.clear(), *parts]).sort("key").drop("key", "lap")


def cards(workspace: Workspace, drawn: pl.DataFrame, attributes: pl.DataFrame) -> list[Card]:
    """The cards of the drawn captions; an image that cannot be read is left empty."""
    said = drawn.select("sample_id").join(attributes, on="sample_id", how="left", maintain_order="left")
    values = said.drop("sample_id", "fault", "detail").iter_rows(named=True)
    return [_card(workspace, row, of) for row, of in zip(drawn.iter_rows(named=True), values, strict=True)]


def _card(workspace: Workspace, row: dict[str, Any], attributes: dict[str, Any]) -> Card:
    known = (row[name] for name in ("label", "source", "type", "method", "video_id"))
    return Card(
        sample_id=row["sample_id"],
        caption=digest(row["face"], row["environment"]),
        jpeg=_jpeg(workspace, row),
        face=row["face"] or "",
        environment=row["environment"] or "",
        attributes=[(_title(name), _text(value)) for name, value in attributes.items() if value is not None],
        hidden=" · ".join(text for text in known if text),
    )


def _title(name: str) -> str:
    return name.rpartition(".")[2].replace("_", " ")


def _text(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def _jpeg(workspace: Workspace, row: dict[str, Any]) -> str:
    try:
        data = workspace.read_blob(row["table"], row["pack"], row["offset"], row["length"])
        picture = Image.open(BytesIO(data)).convert("RGB")
    except (DataError, OSError, Image.DecompressionBombError):
        return ""
    picture.thumbnail((SIDE, SIDE))
    out = BytesIO()
    picture.save(out, "JPEG", quality=92)
    return base64.b64encode(out.getvalue()).decode()


def workspace_key(captioned: Captioned) -> str:
    """What tells the browser's notes on these samples from those on other workspaces."""
    return hashlib.sha256("".join(captioned.rows["sample_id"]).encode()).hexdigest()[:12]
