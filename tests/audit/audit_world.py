"""Small workspaces whose rows are made by hand, to plant one fault at a time."""

from __future__ import annotations

import hashlib
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import simplejpeg

from mmidd.audit.rows import scan
from mmidd.audit.run import findings_of
from mmidd.engine import Blob, Ledger, Row
from mmidd.schema import SAMPLES, Media, Status
from mmidd.workspace import Workspace

RNG = np.random.default_rng(0)


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def row(name: str, /, **given: Any) -> dict[str, Any]:
    """A still of its own: a real of source `own` in train, unlike every other, but for what is given."""
    source = given.get("source", "own")
    video = given.get("video_id", f"{source}/{name}")
    usable = given.get("status", "ok") == "ok"
    return {
        "status": "ok",
        "sample_id": digest(name)[:32] if usable else None,
        "source": source,
        "label": "real",
        "type": "REAL",
        "method": "m",
        "media": Media.IMAGE.value,
        "src_path": f"{name}.png",
        "src_sha256": digest(f"file {video}"),
        "video_id": video,
        "pair_id": video,
        "identity_ids": [],
        "overlap_ids": [],
        "split": "train",
        "role": "largest",
        "phash": digest(f"hash {name}")[:16],
        **given,
    }


FAKE = {"label": "fake", "type": "FS"}


def build(root: Path, *rows: dict[str, Any], blobs: dict[str, bytes] | None = None) -> Workspace:
    """A workspace with these rows; every crop is a picture of its own, or that in `blobs` by `src_path`."""
    workspace = Workspace.open(root, create=True)
    workspace.pin({"frames": 4, "size": 32})
    for source, group in groupby(sorted(rows, key=lambda r: r["source"]), lambda r: r["source"]):
        ledger = Ledger(root / "samples" / source, SAMPLES)
        with ledger.writing():
            ledger.commit([(str(k), 0, [_row(one, blobs or {})]) for k, one in enumerate(group)])
    return workspace


def _row(given: dict[str, Any], blobs: dict[str, bytes]) -> Row:
    columns = {k: v for k, v in given.items() if k not in {"status", "reason", "sample_id"} or v is not None}
    status = Status(columns.pop("status"))
    reason = columns.pop("reason", None)
    blob = blobs.get(given["src_path"]) or _picture()
    return Row(columns, status, reason, blobs=(Blob(blob, "jpg"),) if status is Status.OK else ())


def _picture() -> bytes:
    image = RNG.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    return simplejpeg.encode_jpeg(image, colorspace="RGB")  # type: ignore[no-any-return]


def found(workspace: Workspace, radius: int = 4) -> pl.DataFrame:
    """All findings but the counts."""
    rows = scan(workspace, excluded=True)
    return findings_of(rows, workspace.spec.frames, radius, lambda _: None).filter(pl.col("check") != "count")


def kinds(findings: pl.DataFrame) -> set[tuple[str, str, str]]:
    """Kind, check and severity of the findings, but for the balance of so small a world."""
    other = findings.filter(pl.col("kind") != "balance")
    return set(other.select("kind", "check", "severity").iter_rows())


def flipped(phash: str, bits: int) -> str:
    """A hash so many bits away."""
    return f"{int(phash, 16) ^ ((1 << bits) - 1):016x}"
