"""CelebA-HQ: split and person by way of CelebA, and releases that lost the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmidd.errors import LayoutError, UsageError
from mmidd.ingest.base import Item, ReadOptions, Unlisted, find_reader
from mmidd.ingest.check import check
from mmidd.schema import Label, Media, Split
from tests.ingest import trees
from tests.ingest.trees import PNG, put
from tests.ingest.trees_h import MAPPING, celebahq
from tests.ingest.trees_reals import JPG, celeba


def listed(root: Path, **options: object) -> list[Item | Unlisted]:
    return list(find_reader("celeba-hq")(root, ReadOptions(**options)).listed())  # type: ignore[arg-type]


def items(root: Path, **options: object) -> list[Item]:
    return [item for item in listed(root, **options) if isinstance(item, Item)]


@pytest.mark.parametrize(
    ("folder", "suffix"),
    [
        ("CelebA-HQ-img", ".jpg"),
        ("CelebA-HQ-img/CelebA-HQ-img", ".png"),
        ("celeba-hq-img", ".png"),
    ],
)
def test_split_and_person_come_from_celeba(folder: str, suffix: str, tmp_path: Path) -> None:
    found = items(celebahq(tmp_path, folder=folder, suffix=suffix))
    assert [(i.video_id, i.split, i.split_origin) for i in found] == [
        ("celeba-hq/0", Split.TRAIN, "official"),
        ("celeba-hq/1", Split.VAL, "official"),
        ("celeba-hq/2", Split.TEST, "official"),
    ]
    assert [i.identity_ids for i in found] == [("celeba/person2880",), ("celeba/person7",), ()]
    assert [i.overlap_ids for i in found] == [("celeba/119614",), ("celeba/099095",), ("celeba/200122",)]
    assert [bool(i.label_note) for i in found] == [False, False, True]
    assert {(i.media, i.label, i.method) for i in found} == {(Media.IMAGE, Label.REAL, "celeba-hq")}


def test_the_same_person_has_the_same_id_as_in_celeba(tmp_path: Path) -> None:
    celeba(tmp_path / "CelebA")
    put(tmp_path / "HQ/CelebA-HQ-img/7.jpg", JPG)
    put(tmp_path / "HQ/CelebA-HQ-to-CelebA-mapping.txt", b"idx orig_idx orig_file\n7 1 000002.jpg\n")
    (photo,) = items(tmp_path / "HQ")
    theirs = [i for i in find_reader("celeba")(tmp_path, ReadOptions()).listed() if isinstance(i, Item)][1]
    assert photo.identity_ids == theirs.identity_ids == ("celeba/person7",)
    assert photo.overlap_ids == theirs.overlap_ids
    assert photo.split is theirs.split is Split.VAL


@pytest.mark.parametrize("name", ["CelebA-HQ-to-CelebA-mapping.txt", "Eval/list_eval_partition.txt"])
def test_without_mapping_or_list_one_must_ask_for_a_derived_split(name: str, tmp_path: Path) -> None:
    (celebahq(tmp_path) / name).unlink()
    with pytest.raises(UsageError, match=rf"no {Path(name).name} under .*--derive-splits") as caught:
        items(tmp_path)
    assert "\n" not in str(caught.value)
    found = items(tmp_path, derive_splits=True)
    assert {i.split_origin for i in found} == {"derived"}
    assert all(Path(name).name in str(i.label_note) for i in found)
    known = name.startswith("Eval")
    assert [bool(i.overlap_ids) for i in found] == [known] * 3
    assert [bool(i.identity_ids) for i in found] == [known, known, False]


def test_a_derived_split_is_the_one_that_celeba_derives(tmp_path: Path) -> None:
    numbers = range(1, 60)
    for k in numbers:
        put(tmp_path / f"CelebA/img_align_celeba/{k:06d}.jpg", JPG)
        put(tmp_path / f"HQ/CelebA-HQ-img/{k}.jpg", JPG)
    people = "".join(f"{k:06d}.jpg {k // 7}\n" for k in numbers if k % 2)
    put(tmp_path / "identity_CelebA.txt", people.encode())
    rows = "".join(f"{k} {k} {k:06d}.jpg\n" for k in numbers)
    put(tmp_path / "HQ/CelebA-HQ-to-CelebA-mapping.txt", rows.encode())
    options = ReadOptions(derive_splits=True)
    theirs = find_reader("celeba")(tmp_path / "CelebA", options).listed()
    expected = [i.split for i in theirs if isinstance(i, Item)]
    assert len(set(expected)) > 1
    assert [i.split for i in items(tmp_path / "HQ", derive_splits=True)] == expected


def test_lists_and_mapping_may_lie_in_the_named_folder(tmp_path: Path) -> None:
    celebahq(tmp_path / "raw", lists=False)
    (tmp_path / "raw/CelebA-HQ-to-CelebA-mapping.txt").unlink()
    put(tmp_path / "lists/celeba-hq-to-celeba-mapping.TXT", MAPPING.encode())
    rows = "image_id,partition\n119614.jpg,0\n099095.jpg,1\n200122.jpg,2\n"
    put(tmp_path / "lists/list_eval_partition.csv", rows.encode())
    found = items(tmp_path / "raw", annotations=tmp_path / "lists")
    assert [i.split for i in found] == [Split.TRAIN, Split.VAL, Split.TEST]


def test_the_image_folder_itself_may_be_the_root(tmp_path: Path) -> None:
    celebahq(tmp_path)
    assert [i.split for i in items(tmp_path / "CelebA-HQ-img")] == [Split.TRAIN, Split.VAL, Split.TEST]


def test_celeba_may_lie_beside_the_folder_above(tmp_path: Path) -> None:
    celebahq(tmp_path / "CelebAMask-HQ", lists=False)
    put(tmp_path / "CelebA/Eval/list_eval_partition.txt", b"119614.jpg 2\n")
    for root in (tmp_path / "CelebAMask-HQ", tmp_path / "CelebAMask-HQ/CelebA-HQ-img"):
        assert items(root)[0].split is Split.TEST


def test_photos_that_the_mapping_or_the_list_does_not_name_have_no_split(tmp_path: Path) -> None:
    celebahq(tmp_path)
    put(tmp_path / "CelebA-HQ-img/3.jpg", JPG)
    put(tmp_path / "CelebA-HQ-img/4.jpg", JPG)
    put(tmp_path / "CelebA-HQ-to-CelebA-mapping.txt", (MAPPING + "3 4 000005.jpg\n").encode())
    found = items(tmp_path)[3:]
    assert [(i.split, i.split_origin) for i in found] == [(Split.NONE, "unlisted")] * 2
    assert [i.overlap_ids for i in found] == [("celeba/000005",), ()]
    assert "mapping.txt does not name it" in str(found[1].label_note)


@pytest.mark.parametrize(
    "row", ["0 119613", "0 1 2 000001.jpg", "zero 1 000001.jpg", "0 1 me.jpg", "idx orig_idx orig_file"]
)
def test_a_damaged_mapping_is_one_line(row: str, tmp_path: Path) -> None:
    put(celebahq(tmp_path) / "CelebA-HQ-to-CelebA-mapping.txt", f"{row}\n".encode())
    with pytest.raises(UsageError, match="take the official file") as caught:
        items(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("names", [("000004", "000008"), ("00001", "30000")])
def test_releases_numbered_otherwise_lost_the_mapping(names: tuple[str, str], tmp_path: Path) -> None:
    for folder in ("my_CelebA_HQ_256", "x/CelebA-HQ-img"):
        root = tmp_path / folder.split("/")[0]
        for name in names:
            put(tmp_path / folder / f"{name}.jpg", JPG)
        put(root / "CelebA-HQ-to-CelebA-mapping.txt", MAPPING.encode())
        found = items(root)
        assert [i.video_id for i in found] == [f"celeba-hq/{name}" for name in names]
        assert {i.split_origin for i in found} == {"derived"}
        assert {(i.overlap_ids, i.identity_ids) for i in found} == {((), ())}
        assert all("mapping to CelebA is lost" in str(i.label_note) for i in found)


@pytest.mark.parametrize("inner", ["", "images"])
def test_train_and_val_of_another_tool_are_no_official_split(inner: str, tmp_path: Path) -> None:
    names = ("train/female/000004", "train/male/000005", "val/male/000006")
    for name in names:
        put(tmp_path / "celeba_hq" / inner / f"{name}.jpg", JPG)
    found = items(tmp_path)
    assert [i.video_id for i in found] == [f"celeba-hq/{name}" for name in names]
    assert {i.split_origin for i in found} == {"derived"}
    assert all("both sides" in str(i.label_note) for i in found)


def test_photos_numbered_from_0_under_another_name_need_the_mapping_beside(tmp_path: Path) -> None:
    celebahq(tmp_path / "celeba_hq_256", folder="")
    assert [i.split_origin for i in items(tmp_path)] == ["official"] * 3
    for k in range(3):
        (tmp_path / f"celeba_hq_256/{k}.jpg").rename(tmp_path / f"celeba_hq_256/0000{k}.jpg")
    assert [i.video_id for i in items(tmp_path)] == [f"celeba-hq/{k}" for k in range(3)]
    counts = check(find_reader("celeba-hq")(tmp_path, ReadOptions())).counts
    assert not any(c.missing for c in counts.values())
    (tmp_path / "celeba_hq_256/CelebA-HQ-to-CelebA-mapping.txt").unlink()
    assert [i.split_origin for i in items(tmp_path)] == ["derived"] * 3


def test_other_names_and_other_sources_do_not_match(tmp_path: Path) -> None:
    put(tmp_path / "faces/000004.jpg", JPG)
    put(tmp_path / "CelebA-HQ/teaser.jpg", JPG)
    put(tmp_path / "CelebA-HQ/img_align_celeba/000001.jpg", JPG)
    celeba(tmp_path / "CelebA")
    trees.ffhq(tmp_path / "FFHQ")
    with pytest.raises(LayoutError):
        items(tmp_path)
    celebahq(tmp_path / "right/HQ")
    for other in ("celeba", "ffhq"):
        with pytest.raises(LayoutError):
            find_reader(other)(tmp_path / "right", ReadOptions())


def test_strangers_second_files_and_missing_photos_are_reported(tmp_path: Path) -> None:
    root = celebahq(tmp_path)
    (root / "CelebA-HQ-img/1.jpg").unlink()
    put(root / "CelebA-HQ-img/me.jpg", JPG)
    put(root / "CelebA-HQ-img/0.png", PNG)
    put(root / "CelebA-HQ-img/readme.txt", b"text")
    put(root / "CelebA-HQ-img/more/5.jpg", JPG)
    put(root / "CelebA-HQ-img/masks/5.png", PNG)
    report = check(find_reader("celeba-hq")(root, ReadOptions()))
    assert {u.path for u in report.unlisted} == {
        f"CelebA-HQ-img/{name}" for name in ("0.png", "me.jpg", "more/5.jpg")
    }
    assert report.counts["celeba-hq", "", "val"].missing == ["1"]
    assert report.counts["celeba-hq", "", "train"].found == 1


def test_it_has_one_quality(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave --compression out"):
        items(celebahq(tmp_path), compressions=("c23",))
