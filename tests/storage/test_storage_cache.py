"""The bound, the order of eviction, and what is never evicted."""

from __future__ import annotations

import errno
import hashlib
import multiprocessing
import os
import shutil
from contextlib import ExitStack
from multiprocessing.connection import Connection
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmidd.errors import DataError, StorageError, UsageError
from mmidd.storage import Cache

BOUND = 100


def content(number: int, size: int) -> bytes:
    return hashlib.shake_256(str((number, size)).encode()).digest(size)


def opened(cache: Cache, data: bytes) -> BinaryIO:
    return cache.open(hashlib.sha256(data).hexdigest(), len(data), lambda file: _write(file, data))


def used(cache: Cache, data: bytes) -> None:
    with opened(cache, data) as file:
        assert file.read() == data


def _write(file: BinaryIO, data: bytes) -> None:
    file.write(data)


def held(cache: Cache) -> set[str]:
    return {path.name for path in cache.root.iterdir() if path.name != ".lock"}


def name(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(0, BOUND + 5), min_size=1, max_size=6),
    steps=st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=25),
)
def test_any_sequence_of_files_stays_within_the_bound(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], steps: list[tuple[int, bool]]
) -> None:
    files = [content(i, size) for i, size in enumerate(sizes)]
    cache = Cache(tmp_path_factory.mktemp("cache"), BOUND)
    with ExitStack() as stack:
        in_use: dict[str, int] = {}
        for number, keep in steps:
            data = files[number % len(files)]
            needed = sum((in_use | {name(data): len(data)}).values())
            if needed > BOUND:
                with pytest.raises(StorageError, match="MMIDD_CACHE_GIB"):
                    opened(cache, data)
                continue
            file = opened(cache, data)
            assert file.read() == (cache.root / name(data)).read_bytes() == data
            if keep:
                stack.enter_context(file)
                in_use[name(data)] = len(data)
            else:
                file.close()
            assert sum((cache.root / file).stat().st_size for file in held(cache)) <= BOUND
            assert in_use.keys() <= held(cache)


def test_a_file_larger_than_the_cache_evicts_nothing(cache: Cache) -> None:
    cache = Cache(cache.root, BOUND)
    used(cache, content(0, 40))
    with pytest.raises(StorageError, match=r"101 bytes does not fit .* MMIDD_CACHE_GIB"):
        used(cache, content(1, BOUND + 1))
    assert held(cache) == {name(content(0, 40))}


def test_the_least_recently_used_file_goes_first(cache: Cache) -> None:
    cache = Cache(cache.root, BOUND)
    a, b, c = (content(i, 40) for i in range(3))
    for data in (a, b, a, c):
        used(cache, data)
    assert held(cache) == {name(a), name(c)}


def _keep_open(cache: Cache, data: bytes, pipe: Connection) -> None:
    with opened(cache, data):
        pipe.send("open")
        pipe.recv()


def test_a_file_that_another_process_has_open_stays(cache: Cache) -> None:
    cache = Cache(cache.root, BOUND)
    a, b = content(0, 60), content(1, 60)
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs:
        reader = multiprocessing.get_context("fork").Process(target=_keep_open, args=(cache, a, theirs))
        reader.start()
        assert ours.recv() == "open"
        with pytest.raises(StorageError, match="files in use"):
            used(cache, b)
        ours.send("close")
        reader.join()
    used(cache, b)
    assert held(cache) == {name(b)}


def test_a_download_that_fails_leaves_nothing(cache: Cache) -> None:
    def fail(file: BinaryIO) -> None:
        file.write(b"half")
        raise DataError("unreachable")

    with pytest.raises(DataError):
        cache.open(name(b"whole"), 5, fail)
    assert held(cache) == set()


def test_a_file_of_another_size_is_thrown_away_and_fetched_again(cache: Cache) -> None:
    data = content(0, 50)
    used(cache, data)
    os.truncate(cache.root / name(data), 49)
    used(cache, data)


@pytest.mark.parametrize("sha256", ["../../etc/passwd", "", "A" * 64, "0" * 63])
def test_only_a_hash_names_a_file(cache: Cache, sha256: str) -> None:
    with pytest.raises(DataError, match="damaged_index"):
        cache.open(sha256, 3, lambda file: _write(file, b"abc"))


def test_a_part_of_the_disk_stays_free(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    free = SimpleNamespace(free=2**30 + 50)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: free)
    used(cache, content(0, 50))
    with (
        opened(cache, content(0, 50)),
        pytest.raises(StorageError, match="MMIDD_CACHE to a folder on another disk"),
    ):
        used(cache, content(1, 51))


def test_a_full_disk_is_one_line(cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StorageError, match=r"the disk is full; free space, set MMIDD_CACHE"):
        used(cache, content(0, 50))
    assert held(cache) == set()


def test_a_cache_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="MMIDD_CACHE"):
        used(Cache(tmp_path / "file" / "cache", BOUND), b"abc")


def test_where_the_cache_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("MMIDD_CACHE", "MMIDD_CACHE_GIB", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert Cache.default() == Cache(tmp_path / ".cache" / "mmidd", 64 * 2**30)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert Cache.default().root == tmp_path / "xdg" / "mmidd"
    monkeypatch.setenv("MMIDD_CACHE", str(tmp_path / "mine"))
    monkeypatch.setenv("MMIDD_CACHE_GIB", "0.5")
    assert Cache.default() == Cache(tmp_path / "mine", 2**29)
    monkeypatch.setenv("MMIDD_CACHE_GIB", "lots")
    with pytest.raises(UsageError, match="MMIDD_CACHE_GIB is 'lots'"):
        Cache.default()
