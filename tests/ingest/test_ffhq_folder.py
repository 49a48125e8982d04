"""FFHQ stills, and own data described by a YAML file."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmidd.errors import LayoutError, UsageError
from mmidd.ingest.base import Item, ReadOptions, Unlisted, find_reader
from mmidd.ingest.check import check
from tests.ingest import trees


def listed(key: str, root: Path, options: ReadOptions = ReadOptions()) -> list[Item | Unlisted]:
    return list(find_reader(key)(root, options).items())


def test_ffhq_takes_split_author_and_licence_from_the_json(tmp_path: Path) -> None:
    items = [i for i in listed("ffhq", trees.ffhq(tmp_path)) if isinstance(i, Item)]
    assert [(i.video_id, i.split.value) for i in items] == [
        ("ffhq/00000", "train"),
        ("ffhq/00001", "train"),
        ("ffhq/00002", "train"),
        ("ffhq/60001", "val"),
    ]
    assert items[0].identity_ids == ("ffhq/author:author0",)
    assert items[0].licence == "CC0"


def test_a_flat_ffhq_without_json_is_split_by_number_and_says_so(tmp_path: Path) -> None:
    for number in (0, 59999, 60000):
        trees.put(tmp_path / f"{number:05d}.png", trees.PNG)
    trees.put(tmp_path / "cover.png", trees.PNG)
    found = listed("ffhq", tmp_path)
    items = [i for i in found if isinstance(i, Item)]
    assert [i.split.value for i in items] == ["train", "train", "val"]
    assert all("by photo number" in str(i.label_note) for i in items)
    assert [u.path for u in found if isinstance(u, Unlisted)] == ["cover.png"]


def test_ffhq_check_names_the_missing_photo(tmp_path: Path) -> None:
    root = trees.ffhq(tmp_path)
    (root / "images1024x1024" / "00000" / "00002.png").unlink()
    report = check(find_reader("ffhq")(root, ReadOptions()))
    assert report.counts["ffhq", "", "train"].missing == ["00002"]


def test_rules_fill_templates_from_the_path(tmp_path: Path) -> None:
    found = listed("folder", trees.own(tmp_path / "mine"))
    real, fake = (i for i in found if isinstance(i, Item))
    assert fake.pair_id == real.video_id == "mine/real/anna/a 1"
    assert fake.identity_ids == real.identity_ids == ("mine/anna",)
    assert (fake.method, fake.type, fake.split) == ("lab-swap", "FS", "train")
    assert [u.path for u in found if isinstance(u, Unlisted)] == ["stray.mp4"]


def test_a_csv_with_other_column_names(tmp_path: Path) -> None:
    trees.put(tmp_path / "x" / "1.png", trees.PNG)
    (tmp_path / "rows.csv").write_text("file,truth,kind,people\nx/1.png,fake,EFS,a;b\nx/2.png,real,REAL,a\n")
    (tmp_path / "dataset.yaml").write_text(
        "name: csvset\nmedia: image\ncsv: rows.csv\n"
        "columns: {path: file, label: truth, type: kind, identity: people}\n"
    )
    reader = find_reader("folder")(tmp_path, ReadOptions())
    item = next(i for i in reader.items() if isinstance(i, Item))
    assert (item.type, item.identity_ids) == ("EFS", ("csvset/a", "csvset/b"))
    report = check(reader)
    assert [u for row in report.counts.values() for u in row.unreadable] == ["x/2.png: missing"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: x\nmedia: video\n", "either rules or csv"),
        ("name: x\nmedia: film\nrules: [{glob: '*', label: real}]", "media"),
        ("name: x\nmedia: video\nrules: [{glob: '*', label: real, colour: red}]", "colour"),
        ("name: ../x\nmedia: video\nrules: [{glob: '*', label: real}]", "name"),
        ("name: [", "not valid YAML"),
        ("name: x\nmedia: video\nrules: [{glob: '*.mp4', label: real, video: '{who}'}]", "who"),
        ("name: x\nmedia: video\nrules: [{glob: '*.mp4', label: fake}]", "labels are real and fake"),
        ("name: x\nmedia: video\nrules: [{glob: '*.mp4', label: real, type: FS}]", "label real with type FS"),
        ("name: x\nmedia: video\ncsv: no.csv", r"no\.csv cannot be read"),
        ("name: x\nmedia: video\ncsv: bad.csv", "no column 'label'"),
        ("name: x\nmedia: video\ncsv: leave.csv", "leaves the root"),
    ],
)
def test_a_bad_description_is_one_line(tmp_path: Path, text: str, words: str) -> None:
    trees.put(tmp_path / "a.mp4")
    (tmp_path / "bad.csv").write_text("path,type\na.mp4,FS\n")
    (tmp_path / "leave.csv").write_text("path,label,type\n../a.mp4,fake,FS\n")
    (tmp_path / "dataset.yaml").write_text(text)
    with pytest.raises((UsageError, LayoutError), match=words) as caught:
        listed("folder", tmp_path)
    assert "\n" not in str(caught.value)


def test_the_description_may_lie_elsewhere(tmp_path: Path) -> None:
    root = trees.own(tmp_path / "mine")
    config = (root / "dataset.yaml").rename(tmp_path / "elsewhere.yaml")
    assert listed("folder", root, ReadOptions(config=config))
