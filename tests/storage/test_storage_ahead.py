"""The next files are there before their turn; errors come at their turn."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmidd.errors import DataError
from mmidd.storage import Cache, ReadAhead, open_folder
from mmidd.storage.remote import RemoteFolder
from tests.storage.faults import Fault, Proxy

FILES = [bytes([65 + i]) * 20 for i in range(6)]
ENTRIES = [(f"{i}.tar", 20, hashlib.sha256(data).hexdigest()) for i, data in enumerate(FILES)]


def remote(tmp_path: Path, bound: int = 2**20, without: int | None = None) -> RemoteFolder:
    folder = open_folder(f"memory://{tmp_path.name}", Cache(tmp_path / "cache", bound))
    assert isinstance(folder, RemoteFolder)
    for i, (name, _, _) in enumerate(ENTRIES):
        if i != without:
            folder.write(name, FILES[i])
    return folder


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def taken(ahead: ReadAhead, position: int) -> bytes:
    with ahead.advance(position) as file:
        return file.read()


def test_so_many_files_are_fetched_before_their_turn(tmp_path: Path) -> None:
    folder = remote(tmp_path)
    asked: list[int] = []

    def entries() -> Iterator[tuple[str, int, str]]:
        for i, entry in enumerate(ENTRIES):
            asked.append(i)
            yield entry

    with ReadAhead(folder, entries(), depth=2) as ahead:
        until(lambda: folder.transfers().files == 2)
        assert asked == [0, 1]
        assert taken(ahead, 0) == FILES[0]
        until(lambda: folder.transfers().files == 3)
        assert asked == [0, 1, 2]
        assert [taken(ahead, i) for i in range(1, 6)] == FILES[1:]
        with pytest.raises(IndexError, match="6 files"):
            ahead.advance(6)
    assert folder.transfers().files == 6


def test_an_error_comes_at_its_turn_and_only_there(tmp_path: Path) -> None:
    with ReadAhead(remote(tmp_path, without=2), ENTRIES, depth=3) as ahead:
        assert [taken(ahead, i) for i in range(2)] == FILES[:2]
        with pytest.raises(DataError, match=r"missing: .*2\.tar"):
            ahead.advance(2)
        assert [taken(ahead, i) for i in range(3, 6)] == FILES[3:]


def test_files_can_be_skipped_but_not_turned_back_to(tmp_path: Path) -> None:
    with ReadAhead(remote(tmp_path), ENTRIES, depth=1) as ahead:
        assert taken(ahead, 3) == FILES[3]
        with pytest.raises(ValueError, match="file 3 was passed"):
            ahead.advance(3)
        assert taken(ahead, 4) == FILES[4]


@pytest.mark.parametrize("depth", [1, 3, 9])
def test_a_cache_too_small_for_the_depth_still_serves(tmp_path: Path, depth: int) -> None:
    folder = remote(tmp_path, bound=45)
    with ReadAhead(folder, ENTRIES, depth=depth) as ahead:
        for i, data in enumerate(FILES):
            with ahead.advance(i) as file:
                time.sleep(0.01)
                assert file.read() == data
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mmidd")]


def test_nothing_stays_open_or_running(tmp_path: Path) -> None:
    folder = remote(tmp_path, bound=60)
    with ReadAhead(folder, ENTRIES, depth=3):
        until(lambda: folder.transfers().files == 3)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("mmidd")]
    for name, size, sha256 in ENTRIES[3:]:
        folder.fetch(name, size=size, sha256=sha256)


def test_leaving_ends_the_attempts_of_a_download(folder: RemoteFolder, proxy: Proxy) -> None:
    folder.write("0.tar", FILES[0])
    slow = RemoteFolder(folder.where, folder.cache)
    proxy.faults.extend([Fault("busy")] * 6)
    start = time.monotonic()
    with ReadAhead(slow, ENTRIES, depth=1):
        until(lambda: len(proxy.downloads) >= 2)
    assert time.monotonic() - start < 5
    assert len(proxy.downloads) < 6
