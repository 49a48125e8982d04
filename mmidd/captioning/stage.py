"""The caption stage: every usable sample is described by a backend."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from mmidd.engine import Ledger, Row, Stage, Unit, content_id
from mmidd.errors import UsageError
from mmidd.schema import CAPTIONS, SAMPLES
from mmidd.workspace import Table, Workspace

BACKENDS = ("measured",)


@dataclass(frozen=True)
class Job:
    """Where one sample's image lies, and its landmarks in crop pixels."""

    table: Path
    pack: str
    offset: int
    length: int
    sample_id: str
    landmarks: tuple[float, ...] | None
    crop_matrix: tuple[float, ...] | None


def backend(name: str) -> str:
    """The canonical name of a backend.

    Raises:
        UsageError: this version has no such backend.
    """
    if name not in BACKENDS:
        raise UsageError(
            f"captioning backend {name!r} is not in this version; use --vlm {' or '.join(BACKENDS)}"
        )
    return name


def ledger(workspace: Workspace, name: str) -> Ledger:
    """The table of a backend's captions."""
    return Ledger(workspace.root / "captions" / name, CAPTIONS)


def samples(workspace: Workspace) -> pl.DataFrame:
    """What a caption needs of every usable sample."""
    columns = ("table", "pack", "offset", "length", "sample_id", "landmarks", "crop_matrix", "sha256")
    return workspace.samples().select(columns).collect()


def units(workspace: Workspace, rows: pl.DataFrame, name: str) -> Iterator[Unit]:
    """One unit per sample; its id is a hash of backend and image bytes."""
    for row in rows.iter_rows(named=True):
        sha256, table = row.pop("sha256"), workspace.root / row.pop("table")
        job = Job(table=table, **row)
        identity = content_id("caption", name, row["sample_id"], sha256)
        yield Unit(identity, row["sample_id"], job, {"sample_id": row["sample_id"], "backend": name})


def stage(name: str) -> Stage:
    """The stage that captions with a backend."""
    return Stage(f"caption {name}", CAPTIONS, caption)


def caption(job: Job) -> list[Row]:
    """The caption row of one sample.

    Raises:
        DataError: the image cannot be read or decoded.
    """
    from mmidd.captioning.measured import measure
    from mmidd.captioning.sentences import describe
    from mmidd.preprocess.blend.regions import to_crop
    from mmidd.preprocess.crop import decode_image

    image = decode_image(Table(job.table, SAMPLES).read(job.pack, job.offset, job.length))
    points = None
    if job.landmarks and job.crop_matrix:
        points = to_crop(np.reshape(job.landmarks, (-1, 2)), np.reshape(job.crop_matrix, (2, 3)))
    facts = measure(image, points)
    texts = describe(facts, job.sample_id)
    return [Row({"face": texts.face, "environment": texts.environment, "facts": facts.model_dump_json()})]
