from __future__ import annotations

import importlib.util
from importlib.machinery import ModuleSpec
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from mmidd.demo.portraits import PACKAGED_PHOTOS, packaged_portraits, portraits_in, to_tile
from mmidd.errors import UsageError
from tests.demo.demo_world import drawn_portrait, face_points, needs_portraits

SHARED = Path(__file__).resolve().parents[2] / "../shared/data/portraits"


def test_a_tile_is_upright_centred_and_of_standard_width() -> None:
    turn = cv2.getRotationMatrix2D((200, 200), 17, 0.7)
    points = np.asarray(cv2.transform(face_points()[None], turn)[0], np.float32)
    tile = to_tile("ann", drawn_portrait().image, points, [])
    eyes = tile.points[42:48].mean(0) - tile.points[36:42].mean(0)
    assert abs(np.degrees(np.arctan2(eyes[1], eyes[0]))) < 0.5
    assert np.linalg.norm(tile.points[16] - tile.points[0]) == pytest.approx(160, abs=0.5)
    assert np.allclose((tile.points[27] + tile.points[33]) / 2, (208, 240), atol=0.5)


def test_the_matte_leaves_out_other_people_and_what_the_photo_does_not_show() -> None:
    points = face_points()
    tile = to_tile("ann", drawn_portrait().image, points, [points + np.array([150, 0], np.float32)])
    assert tile.matte[240, 208] == 255
    assert tile.matte[240, 300:].max() == 0
    narrow = to_tile(
        "ann", drawn_portrait().image[:, 100:330].copy(), points - np.array([100, 0], np.float32), []
    )
    assert narrow.matte[:, :60].max() == 0


def test_a_folder_without_photos_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a folder"):
        portraits_in(tmp_path / "none", 3, np.random.default_rng(0))
    with pytest.raises(UsageError, match="no photos"):
        portraits_in(tmp_path, 3, np.random.default_rng(0))


def test_unusable_photos_are_counted_with_a_reason(tmp_path: Path) -> None:
    Image.fromarray(np.full((200, 200, 3), 90, np.uint8)).save(tmp_path / "grey.png")
    (tmp_path / "broken.jpg").write_bytes(b"not a photo")
    found = portraits_in(tmp_path, 3, np.random.default_rng(0))
    assert found.portraits == []
    assert found.skipped == {"no face": 1, "unreadable image": 1}


def test_an_absent_package_is_noted_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = importlib.util.find_spec

    def without(name: str) -> ModuleSpec | None:
        return None if name in {"insightface", "skimage"} else seen(name)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    found = packaged_portraits()
    assert [p.identity for p in found.portraits] == ["grace_hopper"]
    assert found.skipped == {"package absent": 7}
    assert [note.split(":")[0] for note in found.notes] == ["eileen_collins", "insightface_t1"]


@needs_portraits
def test_every_packaged_photo_gives_its_people() -> None:
    found = packaged_portraits()
    assert len({p.identity for p in found.portraits}) == sum(p.people for p in PACKAGED_PHOTOS) == 8
    assert not found.skipped
    assert all(photo.terms for photo in PACKAGED_PHOTOS)


@needs_portraits
def test_a_manifest_names_the_identities(tmp_path: Path) -> None:
    root = Path(str(importlib.util.find_spec("matplotlib").origin)).parent  # type: ignore[union-attr]
    photo = (root / PACKAGED_PHOTOS[0].path).read_bytes()
    folder = tmp_path / "photos" / "deeper"
    folder.mkdir(parents=True)
    for name in ("a.jpg", "b.jpg"):
        (folder / name).write_bytes(photo)
    (tmp_path / "MANIFEST.csv").write_text("file,identity\nreal/x/a.jpg,hopper\nreal/x/b.jpg,hopper\n")
    found = portraits_in(tmp_path / "photos", 5, np.random.default_rng(0))
    assert [p.identity for p in found.portraits] == ["hopper"]
    assert found.skipped == {"another photo of a person already used": 1}
    (tmp_path / "MANIFEST.csv").unlink()
    found = portraits_in(tmp_path / "photos", 5, np.random.default_rng(0))
    assert {p.identity for p in found.portraits} == {"a", "b"}


@pytest.mark.skipif(not SHARED.is_dir(), reason="no ../shared/data/portraits beside the repository")
def test_shared_portraits_are_found_by_seed() -> None:
    first, again = (portraits_in(SHARED, 4, np.random.default_rng(1)) for _ in range(2))
    assert len({p.identity for p in first.portraits}) == 4
    assert [p.identity for p in first.portraits] == [p.identity for p in again.portraits]
