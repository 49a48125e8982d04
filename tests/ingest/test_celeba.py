from __future__ import annotations

from pathlib import Path

import pytest

from mmidd.errors import UsageError
from mmidd.ingest.base import Item, ReadOptions, find_reader
from mmidd.ingest.check import check
from mmidd.schema import Media, Split
from tests.ingest.trees import put
from tests.ingest.trees_reals import JPG, celeba


def items(root: Path, options: ReadOptions = ReadOptions()) -> list[Item]:
    return [item for item in find_reader("celeba")(root, options).listed() if isinstance(item, Item)]


@pytest.mark.parametrize(("doubled", "table"), [(False, "txt"), (True, "csv")])
def test_partition_and_identity_in_both_forms(doubled: bool, table: str, tmp_path: Path) -> None:
    found = items(celeba(tmp_path, doubled=doubled, table=table))
    assert [(i.video_id, i.split, i.split_origin) for i in found] == [
        ("celeba/000001", Split.TRAIN, "official"),
        ("celeba/000002", Split.VAL, "official"),
        ("celeba/000003", Split.TEST, "official"),
    ]
    assert [i.identity_ids for i in found] == [("celeba/person2880",), ("celeba/person7",), ()]
    assert [bool(i.label_note) for i in found] == [False, False, True]
    assert {i.media for i in found} == {Media.IMAGE}


def test_a_photo_outside_the_list_has_no_split(tmp_path: Path) -> None:
    put(celeba(tmp_path) / "img_align_celeba/000004.jpg", JPG)
    assert (items(tmp_path)[-1].split, items(tmp_path)[-1].split_origin) == (Split.NONE, "unlisted")


def test_without_the_list_one_must_ask_for_a_derived_split(tmp_path: Path) -> None:
    (celeba(tmp_path) / "Eval/list_eval_partition.txt").unlink()
    with pytest.raises(UsageError, match=r"list_eval_partition\.txt.*--derive-splits"):
        items(tmp_path)
    assert {i.split_origin for i in items(tmp_path, ReadOptions(derive_splits=True))} == {"derived"}


def test_a_damaged_list_is_one_line(tmp_path: Path) -> None:
    put(celeba(tmp_path) / "Eval/list_eval_partition.txt", b"000001.jpg\n")
    with pytest.raises(UsageError, match=r"cannot read row '000001\.jpg'"):
        items(tmp_path)


def test_missing_photos_and_strangers_are_reported(tmp_path: Path) -> None:
    root = celeba(tmp_path)
    (root / "img_align_celeba/000003.jpg").unlink()
    put(root / "img_align_celeba/me.jpg", JPG)
    report = check(find_reader("celeba")(root, ReadOptions()))
    assert report.counts["celeba", "", "test"].missing == ["000003"]
    assert [u.path for u in report.unlisted] == ["img_align_celeba/me.jpg"]


def test_in_the_wild_photos_when_nothing_is_aligned(tmp_path: Path) -> None:
    put(tmp_path / "img_celeba/000001.jpg", JPG)
    put(tmp_path / "list_eval_partition.txt", b"000001.jpg 0\n")
    assert [i.path for i in items(tmp_path)] == ["img_celeba/000001.jpg"]
