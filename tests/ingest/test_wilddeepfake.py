from __future__ import annotations

import tarfile
from pathlib import Path

import polars as pl
import pytest

from mmidd.errors import MediaError
from mmidd.ingest.base import Item, ReadOptions, find_reader
from mmidd.preprocess.archive import read_sequences
from mmidd.schema import ForgeryType, Media, Split
from mmidd.spec import PreprocessSpec
from tests.cli.command import as_json
from tests.ingest.trees_wild import VIDEOS, members, wilddeepfake


def read(root: Path, **options: object) -> list[Item]:
    found = find_reader("wilddeepfake")(root, ReadOptions(**options)).listed()  # type: ignore[arg-type]
    return [item for item in found if isinstance(item, Item)]


@pytest.mark.parametrize("blank", [False, True])
def test_folders_are_label_and_split(blank: bool, tmp_path: Path) -> None:
    found = {item.video_id: item for item in read(wilddeepfake(tmp_path, blank=blank))}
    assert {
        name: (item.type.value, item.split.value, item.media is Media.ARCHIVE) for name, item in found.items()
    } == {
        "wilddeepfake/fake_train/1": ("FS", "train", True),
        "wilddeepfake/fake_train/10": ("FS", "train", True),
        "wilddeepfake/real_train/1": ("REAL", "train", True),
        "wilddeepfake/fake_test/2": ("FS", "test", True),
        "wilddeepfake/real_test/7": ("REAL", "test", True),
    }
    fake = found["wilddeepfake/fake_test/2"]
    assert (fake.type, fake.split, fake.split_origin) == (ForgeryType.FS, Split.TEST, "official")
    assert "unknown" in str(fake.label_note)


def rows(root: Path, workspace: Path) -> pl.DataFrame:
    as_json("ingest", "wilddeepfake", root, "-w", workspace, "--frames", "2")
    parts = sorted((workspace / "samples/wilddeepfake/parts").glob("*.parquet"))
    return pl.concat([pl.read_parquet(part) for part in parts]).sort("video_id", "frame_index")


def test_tar_files_and_unpacked_folders_give_the_same_samples(tmp_path: Path) -> None:
    """Uniform frames of every sequence, with the bytes that lie in the archive."""
    packed = rows(wilddeepfake(tmp_path / "a"), tmp_path / "packed")
    loose = rows(wilddeepfake(tmp_path / "b", packed="none"), tmp_path / "loose")
    facts = [
        "video_id",
        "pair_id",
        "frame_index",
        "label",
        "type",
        "split",
        "media",
        "sha256",
        "phash",
        "encoding",
    ]
    assert packed.select(facts).equals(loose.select(facts))
    one = packed.filter(pl.col("video_id") == "wilddeepfake/fake_train/10/131")
    assert one["frame_index"].to_list() == [2, 942]
    assert one["src_path"].to_list() == [f"fake_train/10.tar.gz!/./10/fake/131/{k}.png" for k in (2, 942)]
    assert packed.height == 3 * sum(map(len, VIDEOS.values()))
    assert packed["sample_id"].n_unique() == packed.height


@pytest.mark.parametrize(
    ("packed", "suffix"), [("gz", ".tar.gz"), ("", ".tar.gz"), ("xz", ".tar"), ("gz", ".tgz")]
)
def test_compression_is_told_by_content(packed: str, suffix: str, tmp_path: Path) -> None:
    root = wilddeepfake(tmp_path, packed=packed, suffix=suffix)
    found = list(read_sequences(root / f"fake_test/2{suffix}", PreprocessSpec()))
    blobs = {member.name: member.image.blob for member in found}
    assert blobs == members("fake", "2")


def test_truncated_and_foreign_files_are_media_errors(tmp_path: Path) -> None:
    root = wilddeepfake(tmp_path)
    whole = (root / "fake_test/2.tar.gz").read_bytes()
    for name, data in (("half", whole[: len(whole) // 2]), ("text", b"no tar" * 400), ("none", b"")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(MediaError, match="corrupt"):
            list(read_sequences(tmp_path / name, PreprocessSpec()))
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    with pytest.raises(MediaError, match="no_frames"):
        list(read_sequences(tmp_path / "empty.tar", PreprocessSpec()))


def test_a_damaged_image_inside_is_one_row(tmp_path: Path) -> None:
    (tmp_path / "1/fake/3").mkdir(parents=True)
    (tmp_path / "1/fake/3/1.png").write_bytes(b"\x89PNG no")
    (tmp_path / "1/fake/3/2.png").write_bytes(members("fake", "1")["./1/fake/7/5.png"])
    with tarfile.open(tmp_path / "1.tar", "w") as archive:
        archive.add(tmp_path / "1", "1")
    bad, good = read_sequences(tmp_path / "1.tar", PreprocessSpec())
    assert (bad.image.reason, bad.image.blob) == ("not_decoded", None)
    assert good.image.reason is None


def test_an_unpacked_tar_is_read_once(tmp_path: Path) -> None:
    root = wilddeepfake(tmp_path)
    with tarfile.open(root / "fake_test/2.tar.gz") as archive:
        archive.extractall(root / "fake_test", filter="data")
    assert {i.media for i in read(root) if i.video_id.startswith("wilddeepfake/fake_test/")} == {
        Media.PRECROPPED
    }


def test_limit_counts_videos_of_each_label(tmp_path: Path) -> None:
    root = wilddeepfake(tmp_path)
    assert len(read(root, limit_videos=2)) == 4
