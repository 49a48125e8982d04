"""What tells a fake must be its forgery, never the making of its file."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mmidd.demo.ffpp import youtube_id
from mmidd.demo.world import build_world
from tests.demo.demo_world import needs_portraits, small_world

LIMIT = 0.65
SHARED = Path(__file__).resolve().parents[2] / "../shared/data/portraits"


def clips(root: Path) -> Iterator[tuple[Path, int, str]]:
    """Every video with its label and the person who is seen in it."""
    table = json.loads((root / "ff++/conversion_dict.json").read_text())
    for path in sorted((root / "ff++").rglob("c23/videos/*.mp4")):
        yield path, int("manipulated_sequences" in path.parts), table[path.stem[:3]].split()[0]
    with (root / "folder/labels.csv").open(newline="") as lines:
        for row in csv.DictReader(lines):
            person = youtube_id(row["identity"].split(";")[0])
            yield root / "folder" / row["path"], int(row["label"] == "fake"), person


def cheap_features(path: Path) -> list[float]:
    """File size, frame size, length, mean colour, sharpness."""
    with av.open(str(path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    few = frames[:: max(1, len(frames) // 3)]
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in few]
    sharpness = float(np.mean([cv2.Laplacian(image, cv2.CV_64F).var() for image in grey]))
    colour = np.mean([frame.mean((0, 1)) for frame in few], axis=0)
    return [path.stat().st_size, frames[0].shape[1], len(frames), *colour.tolist(), np.log(sharpness)]


def separability(root: Path) -> dict[str, float]:
    """AUC of two classifiers over people they have not seen, the better of both directions."""
    rows = list(clips(root))
    features = np.array([cheap_features(path) for path, _, _ in rows])
    labels: NDArray[np.int64] = np.array([label for _, label, _ in rows])
    people = np.array([person for _, _, person in rows])
    models = {
        "logistic": make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced")),
        "forest": RandomForestClassifier(100, min_samples_leaf=3, class_weight="balanced", random_state=0),
    }
    folds = GroupKFold(min(8, len(set(people))))
    result = {}
    for name, model in models.items():
        fake = cross_val_predict(model, features, labels, groups=people, cv=folds, method="predict_proba")[
            :, 1
        ]
        auc = float(roc_auc_score(labels, fake))
        result[name] = max(auc, 1 - auc)
    return result


def real_share(root: Path, kind: str) -> float:
    """Share of reals among videos or stills of the trees that the world is built around."""
    trees = [root / name for name in ("ff++", "ffhq", "folder", "folder-stills")]
    files = [p.relative_to(root) for tree in trees for p in tree.rglob(f"*.{kind}")]
    files = [p for p in files if not {"masks", "thumbnails128x128"} & set(p.parts)]
    real = [p for p in files if {"real", "original_sequences", "images1024x1024"} & set(p.parts)]
    return len(real) / len(files)


@needs_portraits
def test_size_colour_and_sharpness_do_not_tell_the_fakes() -> None:
    found = separability(small_world().root)
    assert max(found.values()) < LIMIT, found


@needs_portraits
def test_the_kind_of_file_does_not_tell_the_fakes() -> None:
    root = small_world().root
    assert real_share(root, "mp4") == pytest.approx(1 / 3, abs=0.02)
    assert real_share(root, "png") == pytest.approx(1 / 3, abs=0.02)


@pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared/data/portraits beside the repository")
def test_the_same_holds_for_forty_people(tmp_path: Path) -> None:
    summary = build_world(tmp_path / "world", SHARED, clips=128, seconds=0.3, workers=2)
    assert sum(map(len, summary.identities.values())) >= 40
    found = separability(summary.root)
    assert max(found.values()) < LIMIT, found
