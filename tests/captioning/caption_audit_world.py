"""Small workspaces whose captions are made by hand, to plant one fault at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from mmidd.captioning.audit.run import CaptionAudit, audit_captions
from mmidd.engine import Ledger, Row
from mmidd.schema import CAPTIONS, Status
from mmidd.workspace import Workspace
from tests.audit import audit_world

VLM = "qwen2-vl"

FACE = {
    "age_range": "30s",
    "gender_presentation": "feminine",
    "expression": "smiling",
    "pose": "frontal",
    "hair": "long brown hair",
    "skin_tone": "light",
    "skin_texture": "smooth",
    "accessories": "small earrings",
    "occlusion": "none",
}
ENVIRONMENT = {
    "scene": "indoors",
    "background": "a grey wall",
    "lighting": "soft",
    "colour": "grey",
    "image_quality": "sharp",
}


def sample(name: str, **given: Any) -> dict[str, Any]:
    """A still of a video of its own."""
    return audit_world.row(name, width=32, height=32, **given)


def facts(face_sentence: str, environment_sentence: str, **given: str) -> str:
    """A valid answer of a model, but for the given attributes."""
    face = {name: given.get(name, value) for name, value in FACE.items()}
    environment = {name: given.get(name, value) for name, value in ENVIRONMENT.items()}
    return json.dumps(
        {
            "face": face,
            "environment": environment,
            "face_sentence": face_sentence,
            "environment_sentence": environment_sentence,
        }
    )


def prose(seed: str, words: int = 12) -> str:
    """Words that hardly any other seed gives."""
    rng = np.random.default_rng(list(seed.encode()))
    return " ".join("".join(rng.choice(list("bdklmnst"), 4)) for _ in range(words))


def caption(name: str, attributes: dict[str, str] | None = None, **given: Any) -> dict[str, Any]:
    """The caption of the sample `name`, unlike every other, but for what is given."""
    face, environment = prose(f"face {name}"), prose(f"environment {name}")
    return {
        "sample_id": audit_world.digest(name)[:32],
        "backend": VLM,
        "face": face,
        "environment": environment,
        "facts": facts(face, environment, **(attributes or {})),
        "model": "tiny",
        "seed": 0,
        "tries": 1,
        **given,
    }


def build(
    root: Path, samples: Iterable[dict[str, Any]], captions: Iterable[dict[str, Any]], backend: str = VLM
) -> Workspace:
    """A workspace with these samples and one backend's captions; more of them with `add`."""
    workspace = audit_world.build(root, *samples)
    add(workspace, captions, backend)
    return workspace


def add(workspace: Workspace, captions: Iterable[dict[str, Any]], backend: str = VLM) -> None:
    """More captions; those with a `reason` are failures."""
    ledger = Ledger(workspace.root / "captions" / backend, CAPTIONS)
    with ledger.writing():
        ledger.commit([(str(k), 0, [_row(one)]) for k, one in enumerate(captions)])


def _row(given: dict[str, Any]) -> Row:
    columns = {**given, "backend": given["backend"]}
    reason = columns.pop("reason", None)
    return Row(columns, Status.FAILED if reason else Status.OK, reason)


def audited(workspace: Workspace, backend: str = VLM, **options: Any) -> CaptionAudit:
    return audit_captions(workspace, backend, **options)


def kinds(found: pl.DataFrame) -> set[tuple[str, str, str]]:
    """Kind, check and severity of the findings."""
    return set(found.select("kind", "check", "severity").iter_rows())
