"""What every reader promises, on the smallest tree of its layout."""

from __future__ import annotations

import importlib
import pkgutil
import unicodedata
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

import tests.ingest
from mmidd.errors import LayoutError, UsageError
from mmidd.ingest.base import Item, ReadOptions, find_reader, load_readers
from mmidd.schema import SAMPLES, ForgeryType, Label, Split
from tests.ingest import trees

TREES: dict[str, Callable[[Path], Path]] = {
    key: tree
    for module in pkgutil.iter_modules(tests.ingest.__path__)
    if module.name.startswith("trees")
    for key, tree in importlib.import_module(f"tests.ingest.{module.name}").TREES.items()
}
"""The smallest tree of every source, from the modules `trees*`."""
SOURCES = frozenset(reader.info.key for reader in load_readers().values())


def items(key: str, root: Path, options: ReadOptions = ReadOptions()) -> list[Item]:
    return [item for item in find_reader(key)(root, options).listed() if isinstance(item, Item)]


@pytest.fixture(params=sorted(TREES))
def source(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    return request.param, TREES[request.param](tmp_path / "raw")


def test_every_reader_has_a_tree() -> None:
    assert {reader.info.key for reader in load_readers().values()} == set(TREES)


def test_items_exist_are_unique_and_keep_the_label_rules(source: tuple[str, Path]) -> None:
    key, root = source
    found = items(key, root)
    assert found
    assert len({item.path for item in found}) == len(found)
    assert len({(item.video_id, item.frame_index) for item in found}) == len(found)
    real_videos = {item.video_id for item in found if item.label is Label.REAL}
    for item in found:
        assert (root / item.path).is_file()
        assert not PurePosixPath(item.path).is_absolute()
        assert (item.label is Label.REAL) == (item.type is ForgeryType.REAL)
        assert item.video_id.startswith(f"{find_reader(key)(root, ReadOptions()).source}/")
        elsewhere = item.pair_id.split("/")[0] in SOURCES - {key}
        assert item.pair_id == item.video_id or item.pair_id in real_videos or elsewhere
        assert (item.pair_id == item.video_id) == (item.pair_confidence is None)
        assert item.split_origin in {"official", "derived", "unlisted", "none"}
        assert (item.split_origin == "none") <= (item.split is Split.NONE)
        assert item.columns().keys() <= set(SAMPLES.names)


def test_the_order_does_not_depend_on_the_disk(
    source: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    key, root = source
    before = items(key, root)
    listed, globbed = Path.iterdir, Path.glob
    monkeypatch.setattr(Path, "iterdir", lambda self: iter(sorted(listed(self), reverse=True)))
    monkeypatch.setattr(
        Path, "glob", lambda self, pattern: iter(sorted(globbed(self, pattern), reverse=True))
    )
    assert items(key, root) == before


def test_the_layout_is_found_below_doubled_folders(source: tuple[str, Path], tmp_path: Path) -> None:
    key, root = source
    (tmp_path / "outer" / "again").mkdir(parents=True)
    root.rename(tmp_path / "outer" / "again" / "data")
    assert items(key, tmp_path / "outer")


def test_a_limit_counts_per_method(source: tuple[str, Path]) -> None:
    key, root = source
    found = items(key, root, ReadOptions(limit_videos=1))
    assert len({item.video_id for item in found}) == len({item.method for item in found})


def test_a_wrong_root_names_what_it_looks_like(source: tuple[str, Path]) -> None:
    key, root = source
    other = "ffhq" if key != "ffhq" else "ff++"
    with pytest.raises(LayoutError) as caught:
        find_reader(other)(root, ReadOptions())
    message = str(caught.value)
    assert key in message.partition("looks like ")[2].partition(":")[0].split(" or ")
    assert "`mmidd ingest " in message
    assert "\n" not in message


@pytest.mark.parametrize("key", sorted(TREES))
def test_empty_and_absent_roots_are_one_line(key: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for root, words in ((tmp_path / "empty", "is empty"), (tmp_path / "absent", "not a folder")):
        with pytest.raises(LayoutError, match=words):
            find_reader(key)(root, ReadOptions())


def test_an_unknown_source_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"ff\+\+, ffhq"):
        find_reader("ff")


def test_paths_are_stored_in_composed_form(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "한국 [1]")
    trees.put(tmp_path / decomposed / "a.mp4")
    (tmp_path / "dataset.yaml").write_text(
        'name: korean\nmedia: video\nrules: [{glob: "*/*.mp4", label: real}]\n'
    )
    (item,) = items("folder", tmp_path)
    assert item.columns()["src_path"] == "한국 [1]/a.mp4"
    assert (tmp_path / item.path).is_file()


def videos(key: str, root: Path) -> set[tuple[str, str, str, str]]:
    return {(item.video_id, item.pair_id, item.type, item.split) for item in items(key, root)}


def test_the_case_of_folder_names_does_not_matter(source: tuple[str, Path]) -> None:
    """Copies and file systems change it; the `folder` source says itself what its names are."""
    key, root = source
    if key == "folder":
        pytest.skip("its own description names the folders")
    before = videos(key, root)
    inner = sorted((p for p in root.rglob("*") if p.is_dir()), key=lambda p: -len(p.parts))
    for folder in inner:
        folder.rename(folder.with_name(folder.name.lower()))
    assert videos(key, root) == before


def test_without_annotation_files_it_goes_on_or_says_which_is_missing(source: tuple[str, Path]) -> None:
    key, root = source
    for file in list(root.rglob("*")):
        if file.suffix in {".json", ".csv", ".txt", ".pickle", ".yaml"}:
            file.unlink()
    try:
        found = items(key, root)
    except UsageError as error:
        message = str(error)
        assert "\n" not in message
        assert any(
            word in message for word in ("--annotations", "--derive-splits", "--config", "not laid out")
        )
    else:
        assert all(item.label_note or item.split_origin for item in found)
        assert found
