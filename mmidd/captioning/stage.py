"""The stage that captions with `measured`, which needs no model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from mmidd.engine import Ledger, Row, Stage, Unit, content_id
from mmidd.schema import CAPTIONS, SAMPLES
from mmidd.workspace import Table, Workspace

NAME = "measured"


@dataclass(frozen=True)
class Job:
    """Where one sample's image lies, and its landmarks in crop pixels."""

    table: Path
    pack: str
    offset: int
    length: int
    sample_id: str
    landmarks: tuple[float, ...] | None
    landmark_scheme: str | None
    crop_matrix: tuple[float, ...] | None


def ledger(workspace: Workspace) -> Ledger:
    """The table of the captions."""
    return Ledger(workspace.root / "captions" / NAME, CAPTIONS)


def units(workspace: Workspace, rows: pl.DataFrame) -> Iterator[Unit]:
    """One unit per sample; its id is a hash of backend and image bytes."""
    for row in rows.iter_rows(named=True):
        sha256, table = row.pop("sha256"), workspace.root / row.pop("table")
        job = Job(table=table, **row)
        identity = content_id("caption", NAME, row["sample_id"], sha256)
        yield Unit(identity, row["sample_id"], job, {"sample_id": row["sample_id"], "backend": NAME})


def stage() -> Stage:
    """The stage."""
    return Stage(f"caption {NAME}", CAPTIONS, caption)


def caption(job: Job) -> list[Row]:
    """The caption row of one sample.

    Raises:
        DataError: the image cannot be read or decoded.
    """
    from mmidd.captioning.measured import measure
    from mmidd.captioning.sentences import describe
    from mmidd.preprocess.blend.landmarks import crop_marks
    from mmidd.preprocess.crop import decode_image

    image = decode_image(Table(job.table, SAMPLES).read(job.pack, job.offset, job.length))
    points = crop_marks(vars(job)).points if job.landmarks else None
    facts = measure(image, points)
    texts = describe(facts, job.sample_id)
    return [Row({"face": texts.face, "environment": texts.environment, "facts": facts.model_dump_json()})]
