"""The registry of model files: what goes in comes out unchanged, or one line says what to do."""

from __future__ import annotations

import hashlib
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from mmidd import models
from mmidd.errors import MmiddError, StorageError, UsageError
from mmidd.models import KNOWN, add_model, fetch_model, find_model, installed, models_dir
from mmidd.preprocess.detectors.base import choose_detector, make_detector
from mmidd.spec import PreprocessSpec
from tests.cli.command import as_json, error_line
from tests.cli.command import mmidd as command


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MMIDD_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def written(path: Path, data: bytes = b"weights") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_the_folder_is_the_environments_or_the_caches(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert models_dir() == home
    monkeypatch.delenv("MMIDD_MODELS")
    assert models_dir() == Path.home() / ".cache/mmidd/models"


@pytest.mark.parametrize("link", [False, True])
def test_an_added_file_is_found_with_its_hash(tmp_path: Path, home: Path, link: bool) -> None:
    added = add_model("yunet", written(tmp_path / "a.onnx"), link=link)
    assert added == find_model("yunet")
    assert added.files == {"a.onnx": sha(b"weights")}
    assert added.digest == sha(b"weights")[:12]
    path = added.path()
    assert path is not None
    assert path.is_symlink() == link
    assert path.read_bytes() == b"weights"
    assert [p.name for p in home.iterdir()] == ["yunet"]


def test_adding_again_replaces(tmp_path: Path) -> None:
    add_model("yunet", written(tmp_path / "a.onnx"))
    add_model("yunet", written(tmp_path / "b.onnx", b"new"))
    assert find_model("yunet").files == {"b.onnx": sha(b"new")}


@pytest.mark.parametrize("harm", ["changed", "gone"])
def test_a_changed_file_is_never_used(tmp_path: Path, home: Path, harm: str) -> None:
    model = add_model("yunet", written(tmp_path / "a.onnx"))
    if harm == "changed":
        (home / "yunet/a.onnx").write_bytes(b"other")
    else:
        (home / "yunet/a.onnx").unlink()
    with pytest.raises(UsageError, match=r"not the file that was added.*mmidd models add yunet"):
        model.path()


def pack(folder: Path) -> Path:
    written(folder / "w600k_r50.onnx", b"recognition")
    written(folder / "2d106det.onnx", b"marks")
    written(folder / "det_10g.onnx", b"detector")
    return folder


def test_of_a_pack_only_the_wanted_files_are_taken_detector_first(tmp_path: Path) -> None:
    model = add_model("insightface", pack(tmp_path / "buffalo_l"))
    assert list(model.files) == ["det_10g.onnx", "2d106det.onnx"]
    assert model.path() == model.folder / "det_10g.onnx"
    assert model.path("2d106det.onnx") == model.folder / "2d106det.onnx"
    assert model.path("absent*") is None
    assert model.digest == f"{sha(b'detector')[:12]}+{sha(b'marks')[:12]}"


def test_a_zip_is_unpacked_wherever_its_members_lie(tmp_path: Path, home: Path) -> None:
    path = tmp_path / "buffalo_l.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("../../buffalo_l/det_10g.onnx", b"detector")
        archive.writestr("/etc/genderage.onnx", b"no")
    assert list(add_model("insightface", path).files) == ["det_10g.onnx"]
    assert not (tmp_path / "buffalo_l").exists()
    assert sorted(p.name for p in (home / "insightface").iterdir()) == ["det_10g.onnx", "model.json"]


def test_what_cannot_be_added_leaves_the_old_one(tmp_path: Path) -> None:
    add_model("insightface", pack(tmp_path / "good"))
    for path in (
        tmp_path / "absent",
        written(tmp_path / "bad/2d106det.onnx").parent,
        written(tmp_path / "x.txt"),
    ):
        with pytest.raises(UsageError, match="insightface"):
            add_model("insightface", path)
    assert len(find_model("insightface").files) == 2


def test_unknown_and_missing_models_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no model is called 'x'.*insightface, retinaface, yunet"):
        add_model("x", tmp_path)
    with pytest.raises(UsageError, match="`mmidd models fetch yunet`, or `mmidd models add yunet PATH`"):
        find_model("yunet")


def test_a_damaged_record_is_a_usage_error(tmp_path: Path, home: Path) -> None:
    add_model("yunet", written(tmp_path / "a.onnx"))
    (home / "yunet/model.json").write_text("{")
    with pytest.raises(UsageError, match="damaged"):
        find_model("yunet")


def test_a_registry_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MMIDD_MODELS", str(written(tmp_path / "file") / "models"))
    with pytest.raises(StorageError, match="set MMIDD_MODELS"):
        add_model("yunet", written(tmp_path / "a.onnx"))


def known_at(monkeypatch: pytest.MonkeyPatch, path: Path, data: bytes) -> None:
    known = replace(KNOWN["yunet"], url=path.as_uri(), sha256=sha(data))
    monkeypatch.setitem(models.KNOWN, "yunet", known)


def test_fetch_checks_the_hash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "remote.onnx")
    known_at(monkeypatch, path, b"weights")
    assert fetch_model("yunet").files == {"remote.onnx": sha(b"weights")}
    written(path, b"altered")
    with pytest.raises(MmiddError, match=r"gave another file.*mmidd models add yunet PATH"):
        fetch_model("yunet")
    assert find_model("yunet").files == {"remote.onnx": sha(b"weights")}


def test_fetch_without_a_network_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known_at(monkeypatch, tmp_path / "absent.onnx", b"")
    with pytest.raises(MmiddError, match=r"cannot download .*mmidd models add yunet PATH") as error:
        fetch_model("yunet")
    assert "\n" not in str(error.value)
    assert installed("yunet") is None


def test_every_known_model_has_a_full_hash_and_a_pinned_url() -> None:
    for known in KNOWN.values():
        assert known.url.startswith("https://")
        assert len(known.sha256) == 64
        assert not {"main", "master", "latest"} & set(known.url.split("/"))


def test_auto_is_insightface_where_its_pack_is(tmp_path: Path) -> None:
    assert choose_detector("auto") == "dlib"
    add_model("insightface", pack(tmp_path / "buffalo_l"))
    assert choose_detector("auto") == "insightface"
    assert choose_detector("yunet") == "yunet"
    with pytest.raises(UsageError, match="--detector: 'precropped'"):
        choose_detector("precropped")


@pytest.mark.parametrize("name", ["yunet", "retinaface", "insightface"])
def test_a_detector_without_its_model_says_how_to_get_it(name: str) -> None:
    with pytest.raises(UsageError, match=f"mmidd models fetch {name}"):
        make_detector(name)


def test_specs_of_before_keep_their_id() -> None:
    assert PreprocessSpec().spec_id == "aa12c5ba2c04"
    assert PreprocessSpec(detector="yunet").spec_id != PreprocessSpec().spec_id


def test_commands_list_and_add(tmp_path: Path) -> None:
    added = as_json("models", "add", "yunet", written(tmp_path / "a.onnx"))
    assert added["files"] == {"a.onnx": sha(b"weights")}
    rows = {row["name"]: row for row in as_json("models", "list")}
    assert rows["yunet"]["files"] == added["files"]
    assert rows["insightface"]["files"] == {}
    assert "mmidd models fetch insightface" in " ".join(command("models", "list").stdout.split())
    assert "choose one of" in error_line(command("models", "fetch", "x"), 2)


def test_ingest_stops_before_it_begins_without_the_model(tmp_path: Path) -> None:
    written(tmp_path / "raw/real/a.png")
    written(
        tmp_path / "raw/dataset.yaml", b"name: own\nmedia: image\nrules: [{glob: 'real/*', label: real}]\n"
    )
    done = command("ingest", "folder", tmp_path / "raw", "-w", tmp_path / "ws", "--detector", "yunet")
    assert "mmidd models fetch yunet" in error_line(done, 2)
    assert not (tmp_path / "ws").exists()


def test_the_record_is_plain_json(tmp_path: Path, home: Path) -> None:
    add_model("yunet", written(tmp_path / "a.onnx"))
    assert json.loads((home / "yunet/model.json").read_text()) == {"files": {"a.onnx": sha(b"weights")}}
