"""The small trees: every source's own reader finds all of it, and everyone stays in their split."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mmidd.cli.demo import EVALUATION, TRAINING
from mmidd.demo.camera import write_video
from mmidd.demo.cast import Cast
from mmidd.demo.ffpp import annotate, draw_pairs
from mmidd.demo.jobs import Job, Shot, Take, run
from mmidd.demo.trees.tree import COUPLES, Tree
from mmidd.demo.world import small_trees
from mmidd.ingest.base import Item, ReadOptions, Unlisted, evaluation_sources, find_reader, load_readers
from mmidd.ingest.check import probe
from mmidd.schema import ForgeryType, Label, Split
from tests.demo.demo_world import drawn_portrait, needs_portraits, small_world

LISTS = {"df40": "ff++", "df40-test": "ff++", "celeba-hq": "celeba"}
TYPES = {
    "real": "REAL",
    "scenery": "REAL",
    "rendering": "EFS",
    "morph": "EFS",
    "retouch": "FE",
    "Deepfakes": "FS",
    "FaceSwap": "FS",
    "FaceShifter": "FS",
    "Face2Face": "FR",
    "NeuralTextures": "FR",
}


def entries(key: str, root: Path) -> list[Item | Unlisted]:
    lists = root / LISTS[key] if key in LISTS else None
    return list(find_reader(key)(root / key, ReadOptions(annotations=lists)).listed())


def test_the_demo_names_every_source() -> None:
    roles = {reader.info.key: reader.info.role for reader in load_readers().values()}
    assert set(EVALUATION) == evaluation_sources()
    assert set(TRAINING) == {key for key, role in roles.items() if role == "train"}
    assert len(TRAINING) == 11


@needs_portraits
@pytest.mark.parametrize("key", [*TRAINING, *EVALUATION])
def test_the_reader_of_a_source_finds_all_of_its_tree(key: str) -> None:
    summary = small_world()
    found = entries(key, summary.root)
    items = [item for item in found if isinstance(item, Item)]
    assert len(items) == len(found), [entry for entry in found if isinstance(entry, Unlisted)]
    assert len({item.video_id for item in items}) == sum(
        count for (tree, _), count in summary.files.items() if tree == key
    )
    labels = Counter(item.label for item in {item.video_id: item for item in items}.values())
    assert labels[Label.REAL] == summary.files.get((key, "real"), 0) + summary.files.get((key, "scenery"), 0)
    root = find_reader(key).locate(summary.root / key)
    assert [item.path for item in items if probe(root / item.path)] == []
    assert {item.split for item in items} - {Split.NONE}


def trees() -> tuple[Cast, list[Tree]]:
    cast = Cast.draw([drawn_portrait(f"p{k}", k) for k in range(8)], np.random.default_rng(0))
    return cast, small_trees(cast, draw_pairs(cast, 4, np.random.default_rng(0)))


def test_everyone_stays_in_their_split_and_forgeries_have_their_type(tmp_path: Path) -> None:
    """By the readers' own rules, on empty files of the right names."""
    cast, made = trees()
    split_of = {person.identity: split for split, people in cast.people.items() for person in people}
    shots: dict[str, Shot] = {}
    for tree in made:
        for path, data in tree.files.items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_bytes(data)
        for shot in (shot for job in tree.jobs for shot in job.shots):
            video = next((folder for folder in tree.packed if folder in shot.path.parents), None)
            path = tree.packed[video] if video else shot.path
            shots[path.as_posix()] = shot
            file = tmp_path / (path / shot.frames.format(0) if shot.frames and not video else path)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(b"\xff\xd8\xff")
    pairs = draw_pairs(cast, 4, np.random.default_rng(0))
    annotate(tmp_path, pairs)
    seen = 0
    for key in {path.split("/")[0] for path in shots}:
        root = find_reader(key).locate(tmp_path / key).relative_to(tmp_path)
        for item in entries(key, tmp_path):
            assert isinstance(item, Item), item
            path = root / item.path
            shot = shots.get(path.as_posix()) or shots[path.parent.as_posix()]
            kind = TYPES[shot.forgery]
            assert item.type is (ForgeryType.EFS if item.method == "inpainting" else ForgeryType(kind)), path
            for person in shot.people:
                assert item.split in {split_of[person.identity], Split.NONE}, (item, person.identity)
            seen += item.split is not Split.NONE
    assert seen > 0.9 * len(shots)


def test_frames_crops_and_masks_are_filmed(tmp_path: Path) -> None:
    person = drawn_portrait()
    shots = (
        Shot(Path("f"), "real", (person,), crop=(64, 80), frames="{:03d}.png"),
        Shot(Path("g"), "real", (person,), frames="{:d}"),
        Shot(Path("a.jpg"), "retouch", (person,), mask=Path("m.png"), crop=(64, 64)),
    )
    run(tmp_path, Job("k", shots, (320, 240), 0.5), Take(seed=0, seconds=9.0, fps=25, strength=1.0))
    names = sorted(path.name for path in (tmp_path / "f").iterdir())
    assert names[:3] == ["000.png", "005.png", "010.png"]
    assert len(names) == len(list((tmp_path / "g").iterdir())) <= 3
    with Image.open(tmp_path / "f/000.png") as crop:
        assert crop.size == (64, 80)
    with Image.open(tmp_path / "g/0") as frame:
        assert (frame.format, frame.size) == ("JPEG", (320, 240))
    with Image.open(tmp_path / "m.png") as image:
        mask = np.asarray(image)
    assert mask.shape == (64, 64, 3)
    assert 0.2 < (mask > 127).mean() < 0.95


def test_an_avi_is_motion_jpeg(tmp_path: Path) -> None:
    frames = [np.full((48, 64, 3), 20 * k, np.uint8) for k in range(6)]
    for name in ("a.avi", "b.avi"):
        write_video(tmp_path / name, frames, 25)
    assert (tmp_path / "a.avi").read_bytes() == (tmp_path / "b.avi").read_bytes()
    with av.open(str(tmp_path / "a.avi")) as container:
        assert container.streams.video[0].codec_context.name == "mjpeg"
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    assert len(shown) == 6
    assert np.abs(shown[3].astype(int) - frames[3]).mean() < 4


def test_the_trees_are_the_same_each_time() -> None:
    first, second = trees()[1], trees()[1]
    assert [tree.files for tree in first] == [tree.files for tree in second]
    assert all(COUPLES.values())
