"""Paths and URLs; a local folder and one in memory behave alike."""

from __future__ import annotations

import hashlib
import http.server
import importlib
import pickle
import threading
from functools import partial
from pathlib import Path

import pytest

from mmidd.errors import DataError, MissingExtra, StorageError, UsageError
from mmidd.storage import Cache, Folder, open_folder


@pytest.fixture(params=["path", "file", "memory"])
def any_folder(request: pytest.FixtureRequest, tmp_path: Path, cache: Cache) -> Folder:
    where: dict[str, str | Path] = {
        "path": tmp_path / "here",
        "file": (tmp_path / "here").as_uri(),
        "memory": f"memory://{tmp_path.name}/here",
    }
    folder = open_folder(where[request.param], cache)
    folder.write("packs/a.tar", b"0123456789")
    copy: Folder = pickle.loads(pickle.dumps(folder))
    return copy


def reason(outcome: bytes | DataError) -> str:
    assert isinstance(outcome, DataError)
    return outcome.reason


def test_reading(any_folder: Folder) -> None:
    assert any_folder.read("packs/a.tar") == b"0123456789"
    assert any_folder.read_range("packs/a.tar", 3, 4) == b"3456"
    outcomes = any_folder.read_ranges([("packs/a.tar", 8, 2), ("packs/a.tar", 8, 3), ("packs/b.tar", 0, 1)])
    assert outcomes[0] == b"89"
    assert [reason(outcome) for outcome in outcomes[1:]] == ["truncated", "missing"]
    assert any_folder.exists("packs/a.tar")
    assert not any_folder.exists("packs")
    with pytest.raises(FileNotFoundError):
        any_folder.read("b")


def test_fetching(any_folder: Folder) -> None:
    sha256 = hashlib.sha256(b"0123456789").hexdigest()
    path = any_folder.fetch("packs/a.tar", size=10, sha256=sha256)
    assert path.read_bytes() == b"0123456789"
    with any_folder.open("packs/a.tar", size=10, sha256=sha256) as file:
        assert file.read() == b"0123456789"
    with pytest.raises(DataError, match=r"wrong_size: .*a\.tar has 10 bytes, 11 were expected"):
        any_folder.fetch("packs/a.tar", size=11, sha256="0" * 64)
    with pytest.raises(DataError, match=r"missing: .*b\.tar"):
        any_folder.fetch("packs/b.tar", size=11, sha256="0" * 64)


@pytest.mark.parametrize("name", ["../a", "/etc/passwd", "a/../../b", "", "s3://other/a", "a\0b"])
def test_a_name_stays_in_its_folder(any_folder: Folder, name: str) -> None:
    with pytest.raises(DataError, match="unsafe_name"):
        any_folder.fetch(name, size=1, sha256="0" * 64)
    with pytest.raises(DataError, match="unsafe_name"):
        any_folder.write(name, b"")


def test_a_local_file_is_not_copied(tmp_path: Path) -> None:
    folder = open_folder(tmp_path)
    folder.write("a", b"abc")
    assert folder.fetch("a", size=3, sha256=hashlib.sha256(b"abc").hexdigest()) == tmp_path / "a"
    assert not folder.remote
    assert list(tmp_path.iterdir()) == [tmp_path / "a"]


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    with pytest.raises(StorageError, match="choose another folder"):
        open_folder(tmp_path / "a").write("b", b"")


@pytest.mark.parametrize(
    ("where", "message"), [("nope://a/b", "no protocol nope://"), ("s3://", "no folder")]
)
def test_a_url_that_makes_no_sense(where: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_folder(where)


@pytest.mark.parametrize(("protocol", "package"), [("s3", r"mmidd\[s3\]"), ("gs", "gcsfs")])
def test_a_missing_package_has_its_install_line(
    protocol: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry = importlib.import_module("fsspec.registry")
    monkeypatch.delitem(registry._registry, protocol, raising=False)
    known = {"class": "no_such_fs.FS", "err": "?"}
    monkeypatch.setitem(registry.known_implementations, protocol, known)
    with pytest.raises(MissingExtra, match=f"{protocol}:// needs .* `pip install '{package}'`"):
        open_folder(f"{protocol}://bucket/a")


def test_a_web_server_is_for_reading_and_must_know_ranges(tmp_path: Path, cache: Cache) -> None:
    (tmp_path / "a").write_bytes(b"0123456789")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        folder = open_folder(f"http://127.0.0.1:{server.server_address[1]}", cache)
        try:
            assert folder.read("a") == b"0123456789"
            with pytest.raises(UsageError, match="does not answer range requests"):
                folder.read_range("a", 2, 3)
            with pytest.raises(DataError, match="missing"):
                folder.read_range("b", 2, 3)
            with pytest.raises(UsageError, match=r"refused \(501"):
                folder.write("c", b"abc")
        finally:
            server.shutdown()
            thread.join()
