"""The simulate stage: self-blended forgeries of the real training samples, with their masks."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mmidd.engine import Blob, Ledger, Row, Stage, Unit, content_id
from mmidd.errors import UsageError
from mmidd.schema import SAMPLES, SIMULATED, ForgeryType, Label, Split
from mmidd.spec import PreprocessSpec
from mmidd.workspace import Table, Workspace

RECIPES = ("sbi",)
_COPIED = ("source", "media", "src_path", "src_sha256", "frame_index", "pts_ms", "identity_ids", "licence")
_SPLIT = ("split", "split_origin", "compression", "spec_id")
_PLACED = (
    "sample_id",
    "table",
    "pack",
    "offset",
    "length",
    "landmarks",
    "crop_matrix",
    "pair_id",
    "video_id",
)


@dataclass(frozen=True)
class Job:
    """One real sample to blend, and which of its blends this is."""

    row: dict[str, Any]
    table: Path
    recipe: str
    seed: int
    k: int
    spec: PreprocessSpec


def real_samples(workspace: Workspace) -> pl.DataFrame:
    """The real training samples that have landmarks.

    Raises:
        UsageError: there are none.
    """
    wanted = (pl.col("label") == Label.REAL.value) & (pl.col("split") == Split.TRAIN.value)
    rows = workspace.samples().filter(wanted & pl.col("landmarks").is_not_null())
    found = rows.select(*_COPIED, *_SPLIT, *_PLACED, "sha256").collect()
    if found.is_empty():
        raise UsageError(
            "no real training sample has landmarks; ingest a real source with a train split first"
        )
    return found


def ledger(workspace: Workspace, recipe: str) -> Ledger:
    """The table of a recipe's forgeries."""
    return Ledger(workspace.root / "simulated" / recipe, SIMULATED)


def stage(recipe: str) -> Stage:
    """The stage that blends by a recipe.

    Raises:
        UsageError: there is no such recipe.
    """
    if recipe not in RECIPES:
        raise UsageError(f"unknown recipe {recipe!r}; known: {', '.join(RECIPES)}")
    return Stage(f"simulate {recipe}", SIMULATED, blend)


def units(workspace: Workspace, reals: pl.DataFrame, recipe: str, per_real: int, seed: int) -> Iterator[Unit]:
    """`per_real` units per real sample; the id is a hash of image bytes, recipe, seed and number."""
    for row in reals.iter_rows(named=True):
        for k in range(per_real):
            job = Job(row, workspace.root / row["table"], recipe, seed, k, workspace.spec)
            identity = content_id("simulate", recipe, seed, k, row["sample_id"], row["sha256"])
            yield Unit(identity, f"{row['sample_id']} {k}", job, _columns(row, recipe, identity))


def _columns(row: dict[str, Any], recipe: str, identity: str) -> dict[str, Any]:
    return {
        **{name: row[name] for name in (*_COPIED, *_SPLIT, "pair_id")},
        "sample_id": identity,
        "base_id": row["sample_id"],
        "label": Label.FAKE.value,
        "type": ForgeryType.FS.value,
        "method": recipe,
        "recipe": recipe,
        "pair_confidence": "exact",
        "target_video": row["video_id"],
        "donor_video": row["video_id"],
        "video_id": f"{row['video_id']}#{recipe}",
    }


def blend(job: Job) -> list[Row]:
    """The forgery of one real sample, and its pristine twin.

    The recipe may shift the colours of the whole picture, and both are encoded once more than the
    sample itself; the twin went through the same, so that neither tells the fake.

    Raises:
        DataError: the image cannot be read, or its landmarks give no hull.
    """
    from mmidd.preprocess.crop import encode_mask

    result = _blend(job)
    parameters = {"parameters": json.dumps(result.parameters, sort_keys=True)}
    fake, image = _picture(result.fake, job.spec)
    real, twin = _picture(result.real, job.spec)
    mask = Blob(encode_mask(result.mask), "mask.png", "mask_")
    pristine = {
        "sample_id": content_id("twin", job.recipe, job.seed, job.k, job.row["sample_id"]),
        "label": Label.REAL.value,
        "type": ForgeryType.REAL.value,
        "pair_confidence": None,
        "target_video": None,
        "donor_video": None,
        "video_id": f"{job.row['video_id']}#{job.recipe}-twin",
    }
    return [
        Row({**fake, **parameters}, blobs=(image, mask)),
        Row({**real, **parameters, **pristine}, blobs=(twin,)),
    ]


def _picture(image: NDArray[np.uint8], spec: PreprocessSpec) -> tuple[dict[str, Any], Blob]:
    from mmidd.preprocess.crop import encode_image
    from mmidd.preprocess.quality import brightness, phash, sharpness

    columns = {
        "width": image.shape[1],
        "height": image.shape[0],
        "encoding": spec.encoding,
        "phash": phash(image),
        "sharpness": sharpness(image),
        "brightness": brightness(image),
    }
    return columns, Blob(encode_image(image, spec), spec.encoding)


def _blend(job: Job) -> Any:
    from mmidd.preprocess.blend.regions import to_crop
    from mmidd.preprocess.crop import decode_image
    from mmidd.preprocess.simulate import simulate_sample

    row = job.row
    image = decode_image(Table(job.table, SAMPLES).read(row["pack"], row["offset"], row["length"]))
    points = to_crop(np.reshape(row["landmarks"], (-1, 2)), np.reshape(row["crop_matrix"], (2, 3)))
    return simulate_sample(image, points, job.seed, row["sample_id"], job.k)


def preview(workspace: Workspace, reals: pl.DataFrame, recipe: str, count: int, seed: int) -> Path:
    """Draw `count` blends of different videos as a contact sheet; returns the PNG's path."""
    from mmidd.preprocess.blend.sheet import contact_sheet, save_sheet

    stage(recipe)
    rows = reals.unique("video_id", keep="first", maintain_order=True).head(count)
    jobs = [
        Job(row, workspace.root / row["table"], recipe, seed, 0, workspace.spec)
        for row in rows.iter_rows(named=True)
    ]
    path = workspace.root / f"preview-{recipe}.png"
    save_sheet(contact_sheet([_blend(job) for job in jobs]), path)
    return path
