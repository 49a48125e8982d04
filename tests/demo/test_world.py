from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path

import av
import numpy as np
import pytest
import yaml
from PIL import Image

from mmidd.demo.cast import Cast
from mmidd.demo.ffpp import draw_pairs
from mmidd.demo.ffpp import jobs as ffpp_jobs
from mmidd.demo.jobs import Take, run, run_all
from mmidd.demo.world import build_world
from mmidd.errors import UsageError
from tests.demo.demo_world import drawn_portrait, needs_portraits, small_world

TAKE = Take(seed=3, seconds=0.2, fps=25, strength=1.0)


def bytes_under(root: Path) -> dict[str, str]:
    files = sorted(p for p in root.rglob("*") if p.is_file())
    return {p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def frames_of(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def test_the_same_seed_gives_the_same_bytes_in_any_order_and_any_process(tmp_path: Path) -> None:
    cast = Cast.draw([drawn_portrait(f"p{k}", k) for k in range(6)], np.random.default_rng(0))
    jobs = ffpp_jobs(draw_pairs(cast, 3, np.random.default_rng(0)))[:2]
    counts: list[tuple[int, int]] = []
    here = run_all(tmp_path / "here", jobs, TAKE, 1, lambda *count: counts.append(count))
    assert counts == [(1, 2), (2, 2)]
    pool = run_all(tmp_path / "pool", jobs, TAKE, 2, lambda *_: None)
    for job in reversed(jobs):
        run(tmp_path / "back", job, TAKE)
    assert bytes_under(tmp_path / "here") == bytes_under(tmp_path / "pool") == bytes_under(tmp_path / "back")
    assert all(np.array_equal(a, b) for a, b in zip(here, pool, strict=True))
    run(tmp_path / "other", jobs[0], Take(seed=4, seconds=0.2, fps=25, strength=1.0))
    assert set(bytes_under(tmp_path / "other").values()).isdisjoint(bytes_under(tmp_path / "here").values())


def test_bad_arguments_are_usage_errors(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="not an empty folder"):
        build_world(tmp_path)
    with pytest.raises(UsageError, match="48 to 6000 clips"):
        build_world(tmp_path / "new", clips=5)
    assert not (tmp_path / "new").exists()


@needs_portraits
def test_faceforensics_has_the_official_layout() -> None:
    root = small_world().root / "ff++"
    table = json.loads((root / "conversion_dict.json").read_text())
    clips = sorted(p.stem for p in (root / "original_sequences/youtube/c23/videos").glob("*.mp4"))
    assert clips == sorted(table)
    pairs = [p for s in ("train", "val", "test") for p in json.loads((root / f"splits/{s}.json").read_text())]
    names = sorted(f"{x}_{y}" for a, b in pairs for x, y in ((a, b), (b, a)))
    for method in ("Deepfakes", "Face2Face", "FaceSwap", "NeuralTextures", "FaceShifter"):
        folder = root / "manipulated_sequences" / method
        assert sorted(p.stem for p in (folder / "c23/videos").glob("*.mp4")) == names
        masks = sorted(p.stem for p in (folder / "masks/videos").glob("*.mp4"))
        assert masks == ([] if method == "FaceShifter" else names)


@needs_portraits
def test_a_fake_and_its_mask_are_as_long_as_their_real() -> None:
    root = small_world().root / "ff++"
    fake = sorted((root / "manipulated_sequences/Face2Face/c23/videos").glob("*.mp4"))[0]
    original = root / "original_sequences/youtube/c23/videos" / f"{fake.stem[:3]}.mp4"
    mask = root / "manipulated_sequences/Face2Face/masks/videos" / fake.name
    assert frames_of(fake) == frames_of(original) == frames_of(mask) >= 5


@needs_portraits
def test_ffhq_has_the_official_layout() -> None:
    root = small_world().root / "ffhq"
    table = json.loads((root / "ffhq-dataset-v2.json").read_text())
    assert list(table) == [str(k) for k in range(len(table))]
    for entry in table.values():
        image = entry["image"]
        pixels = Image.open(root / image["file_path"])
        assert list(pixels.size) == image["pixel_size"]
        assert hashlib.md5(pixels.tobytes()).hexdigest() == image["pixel_md5"]
        assert np.array(image["face_landmarks"]).shape == (68, 2)
        assert (root / entry["thumbnail"]["file_path"]).is_file()
    categories = [entry["category"] for entry in table.values()]
    assert categories == sorted(categories)
    assert set(categories) == {"training", "validation"}
    assert (root / "LICENSE.txt").is_file()


@needs_portraits
@pytest.mark.parametrize("tree", ["folder", "folder-stills"])
def test_own_data_is_described_completely(tree: str) -> None:
    root = small_world().root / tree
    description = yaml.safe_load((root / "dataset.yaml").read_text())
    with (root / description["csv"]).open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert set(description["columns"].values()) <= set(rows[0])
    files = {p.relative_to(root).as_posix() for p in root.rglob("*") if p.suffix in {".mp4", ".png"}}
    assert {row["path"] for row in rows} == files
    assert {row["type"] for row in rows} == {"REAL", "EFS", "FE"}


@needs_portraits
def test_the_summary_counts_what_was_written() -> None:
    summary = small_world()
    for tree in ("ff++", "ffhq", "folder", "folder-stills"):
        written = [p for p in (summary.root / tree).rglob("*") if p.suffix in {".mp4", ".png"}]
        counted = [p for p in written if not {"masks", "thumbnails128x128"} & set(p.parts)]
        assert sum(n for (name, _), n in summary.files.items() if name == tree) == len(counted)
    assert sorted(summary.identities) == ["test", "train", "val"]
    assert not summary.skipped
    assert not summary.notes
