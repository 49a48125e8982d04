"""The simulate stage: self-blended forgeries of the real training samples, with masks and dialogue."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from mmidd.dialogue.blends import REAL, finding
from mmidd.dialogue.conversation import Message, converse
from mmidd.dialogue.finding import Finding
from mmidd.engine import Blob, Ledger, Row, Stage, Unit, content_id
from mmidd.errors import DataError, UsageError
from mmidd.preprocess.blend.landmarks import crop_marks
from mmidd.preprocess.blend.recipe import RecipeName
from mmidd.preprocess.blend.render import Blend, finished
from mmidd.preprocess.blend.sheet import contact_sheet, save_sheet
from mmidd.preprocess.crop import decode_image, encode_image, encode_mask
from mmidd.preprocess.quality import brightness, phash, sharpness
from mmidd.preprocess.simulate import forgery_type, generator, method_of, simulate_sample, to_json
from mmidd.schema import SAMPLES, SIMULATED, ForgeryType, Label, Split
from mmidd.spec import PreprocessSpec
from mmidd.where import matching
from mmidd.workspace import Table, Workspace

_COPIED = ("source", "media", "src_path", "src_sha256", "frame_index", "pts_ms", "identity_ids", "licence")
_SPLIT = ("split", "split_origin", "compression", "spec_id")
_PLACED = (
    "sample_id",
    "table",
    "pack",
    "offset",
    "length",
    "landmarks",
    "landmark_scheme",
    "crop_matrix",
    "pair_id",
    "video_id",
)


@dataclass(frozen=True)
class Job:
    """One real sample to blend, and which of its blends this is."""

    row: dict[str, Any]
    table: Path
    recipe: RecipeName
    seed: int
    k: int
    spec: PreprocessSpec


def real_samples(workspace: Workspace, where: str | None = None) -> pl.DataFrame:
    """The real training samples, or those of them for which an SQL condition holds.

    Raises:
        UsageError: there are none, or the condition cannot be used.
    """
    wanted = (pl.col("label") == Label.REAL.value) & (pl.col("split") == Split.TRAIN.value)
    rows = matching(workspace.samples().filter(wanted), where)
    found = rows.select(*_COPIED, *_SPLIT, *_PLACED, "sha256").collect()
    if found.is_empty():
        raise UsageError(
            "no real training sample is left; ingest a real source with a train split, or widen --where"
        )
    return found


def ledger(workspace: Workspace, recipe: RecipeName) -> Ledger:
    """The table of a recipe's forgeries."""
    return Ledger(workspace.root / "simulated" / recipe, SIMULATED)


def stage(recipe: RecipeName) -> Stage:
    """The stage that blends by a recipe."""
    return Stage(f"simulate {recipe}", SIMULATED, blend)


def units(
    workspace: Workspace, reals: pl.DataFrame, recipe: RecipeName, per_real: int, seed: int
) -> Iterator[Unit]:
    """`per_real` units per real sample; the id is a hash of image bytes, recipe, seed and number."""
    for row in reals.iter_rows(named=True):
        for k in range(per_real):
            job = Job(row, workspace.root / row["table"], recipe, seed, k, workspace.spec)
            identity = content_id("simulate", recipe, seed, k, row["sample_id"], row["sha256"])
            yield Unit(identity, f"{row['sample_id']} {k}", job, _columns(row, recipe, identity))


def _columns(row: dict[str, Any], recipe: RecipeName, identity: str) -> dict[str, Any]:
    return {
        **{name: row[name] for name in (*_COPIED, *_SPLIT, "pair_id")},
        "sample_id": identity,
        "base_id": row["sample_id"],
        "label": Label.FAKE.value,
        "type": forgery_type(recipe).value,
        "method": recipe,
        "recipe": recipe,
        "pair_confidence": "exact",
        "target_video": row["video_id"],
        "donor_video": row["video_id"],
        "video_id": f"{row['video_id']}#{recipe}",
    }


def blend(job: Job) -> list[Row]:
    """The forgery of one real sample, and its pristine twin.

    The recipe may change the colours of the whole picture, and both are encoded once more than the
    sample itself; the twin went through the same, so that neither tells the fake. In the two
    conversations the human says the same.

    Raises:
        DataError: the image cannot be read, or its landmarks give no forgery.
    """
    result = finished(_blend(job))
    drawn = result.parameters
    both = {
        "parameters": to_json(drawn, job.seed, job.k),
        "method": method_of(job.recipe, drawn),
    }
    fake, image = _picture(result.fake, job.spec)
    real, twin = _picture(result.real, job.spec)
    forged = {"regions": list(drawn.regions), "conversations": _talk(job, finding(result))}
    pristine = {
        "sample_id": content_id("twin", job.recipe, job.seed, job.k, job.row["sample_id"]),
        "label": Label.REAL.value,
        "type": ForgeryType.REAL.value,
        "pair_confidence": None,
        "target_video": None,
        "donor_video": None,
        "video_id": f"{job.row['video_id']}#{job.recipe}-twin",
        "regions": [],
        "conversations": _talk(job, REAL),
    }
    mask = Blob(encode_mask(result.mask), "mask.png", "mask_")
    return [
        Row({**fake, **both, **forged}, blobs=(image, mask)),
        Row({**real, **both, **pristine}, blobs=(twin,)),
    ]


def _talk(job: Job, found: Finding) -> list[Message]:
    return converse(found, generator(job.seed, f"dialogue:{job.recipe}:{job.row['sample_id']}", job.k))


def _picture(image: NDArray[np.uint8], spec: PreprocessSpec) -> tuple[dict[str, Any], Blob]:
    columns = {
        "width": image.shape[1],
        "height": image.shape[0],
        "encoding": spec.encoding,
        "phash": phash(image),
        "sharpness": sharpness(image),
        "brightness": brightness(image),
    }
    return columns, Blob(encode_image(image, spec), spec.encoding)


def _blend(job: Job) -> Blend:
    row = job.row
    image = decode_image(Table(job.table, SAMPLES).read(row["pack"], row["offset"], row["length"]))
    return simulate_sample(image, crop_marks(row), job.recipe, job.seed, row["sample_id"], job.k)


def preview(workspace: Workspace, reals: pl.DataFrame, recipe: RecipeName, count: int, seed: int) -> Path:
    """Draw blends of `count` different videos as a contact sheet; returns the PNG's path.

    Raises:
        UsageError: no real could be blended.
    """
    rows = reals.unique("video_id", keep="first", maintain_order=True).iter_rows(named=True)
    jobs = (Job(row, workspace.root / row["table"], recipe, seed, 0, workspace.spec) for row in rows)
    blends = [finished(found) for found in islice(filter(None, map(_blend_or_none, jobs)), count)]
    if not blends:
        raise UsageError("no real sample could be blended; run `mmidd simulate` to see the reasons")
    path = workspace.root / f"preview-{recipe}.png"
    save_sheet(contact_sheet(blends), path)
    return path


def _blend_or_none(job: Job) -> Blend | None:
    try:
        return _blend(job)
    except DataError:
        return None
