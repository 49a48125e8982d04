"""A real S3 server process, behind a proxy that spoils answers."""

from __future__ import annotations

import hashlib
import logging
import multiprocessing
import os
import pickle
from multiprocessing.connection import Connection
from pathlib import Path

import fsspec
import pytest

from mmidd.errors import DataError, MmiddError, UsageError
from mmidd.storage import Cache, Transfers, open_folder
from mmidd.storage import fetch as fetch_module
from mmidd.storage.remote import RemoteFolder
from tests.storage.faults import Fault, Proxy

BLOCK = 100_000
DATA = bytes(hashlib.shake_256(b"shard").digest(5 * BLOCK - 7))
SHA256 = hashlib.sha256(DATA).hexdigest()


@pytest.fixture
def uploaded(folder: RemoteFolder, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> RemoteFolder:
    """Holds a.tar of five blocks, which come one after the other; nothing was downloaded yet."""
    monkeypatch.setattr(fetch_module, "BLOCK", BLOCK)
    monkeypatch.setattr(fetch_module, "CONCURRENT", 1)
    folder.write("a.tar", DATA)
    return folder


def fetched(folder: RemoteFolder, name: str = "a.tar") -> bytes:
    return folder.fetch(name, size=len(DATA), sha256=SHA256).read_bytes()


def test_written_files_are_read_back(folder: RemoteFolder, tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(DATA)
    folder.write("packs/big.tar", tmp_path / "big")
    folder.write("index.json", b"{}")
    assert folder.read("index.json") == b"{}"
    assert folder.read_range("packs/big.tar", 1000, 50) == DATA[1000:1050]
    assert fetched(folder, "packs/big.tar") == DATA
    assert folder.exists("index.json")
    assert not folder.exists("packs")
    assert not folder.exists("nothing")


def test_a_cached_file_is_not_asked_for_again(uploaded: RemoteFolder, proxy: Proxy) -> None:
    assert fetched(uploaded) == DATA
    asked = len(proxy.downloads)
    assert fetched(uploaded) == DATA
    assert len(proxy.downloads) == asked == 5
    assert uploaded.transfers().files == 1
    assert uploaded.transfers().bytes == len(DATA)


@pytest.mark.parametrize("kind", ["drop", "cut", "short", "busy"])
def test_a_broken_answer_is_asked_for_again_and_the_blocks_before_it_are_kept(
    uploaded: RemoteFolder, proxy: Proxy, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    proxy.faults.extend([Fault("sound"), Fault("sound"), Fault(kind, 40_000)])  # type: ignore[arg-type]
    with caplog.at_level(logging.WARNING, "mmidd.storage"):
        assert fetched(uploaded) == DATA
    starts = [int(asked.removeprefix("bytes=").split("-")[0]) for asked in proxy.downloads]
    assert starts[:3] == [0, BLOCK, 2 * BLOCK]
    assert starts[3] == 2 * BLOCK + (40_000 if kind == "short" else 0)
    assert starts.count(0) == starts.count(BLOCK) == 1
    assert uploaded.transfers().retries == 1
    assert "a.tar" in caplog.text


def test_connections_that_never_last_for_a_block_still_get_it(uploaded: RemoteFolder, proxy: Proxy) -> None:
    proxy.faults.extend([Fault("drop", 70_000)] * 100)
    assert fetched(uploaded) == DATA
    assert uploaded.transfers().retries == 5


def test_a_store_that_never_answers_is_given_up(uploaded: RemoteFolder, proxy: Proxy) -> None:
    proxy.faults.extend([Fault("busy")] * 6)
    with pytest.raises(DataError, match=r"s3://.*/a\.tar.* in 6 attempts") as caught:
        fetched(uploaded)
    assert caught.value.reason == "unreachable"
    assert len(proxy.downloads) == 6
    assert not list(uploaded.cache.root.glob("*.part"))


def test_a_wrong_hash_is_fetched_once_more(uploaded: RemoteFolder, proxy: Proxy) -> None:
    proxy.faults.append(Fault("corrupt", 77))
    assert fetched(uploaded) == DATA
    assert uploaded.transfers().refetched == 1


def test_bytes_that_stay_wrong_are_refused_and_not_kept(uploaded: RemoteFolder, proxy: Proxy) -> None:
    uploaded.write("b.tar", DATA[:-1] + b"x")
    with pytest.raises(DataError, match=r"s3://.*b\.tar") as caught:
        fetched(uploaded, "b.tar")
    assert caught.value.reason == "wrong_hash"
    assert len(proxy.downloads) == 10
    assert [path.name for path in uploaded.cache.root.iterdir()] == [".lock"]


@pytest.mark.parametrize(("name", "reason"), [("none.tar", "missing"), ("short.tar", "wrong_size")])
def test_what_is_not_as_indexed_is_an_error_at_once(
    uploaded: RemoteFolder, proxy: Proxy, name: str, reason: str
) -> None:
    uploaded.write("short.tar", DATA[:-1])
    with pytest.raises(DataError, match=name) as caught:
        fetched(uploaded, name)
    assert caught.value.reason == reason
    assert uploaded.transfers().retries == 0
    assert proxy.downloads == []


def test_every_range_has_its_own_outcome(uploaded: RemoteFolder, proxy: Proxy) -> None:
    proxy.faults.extend([Fault("busy"), Fault("cut", 3)])
    good = [("a.tar", 1000 * i, 100 + i) for i in range(20)]
    outcomes = uploaded.read_ranges([*good, ("none", 0, 5), ("a.tar", len(DATA) - 5, 10), ("a.tar", 3, 0)])
    assert outcomes[:20] == [DATA[offset : offset + length] for _, offset, length in good]
    assert [outcome.reason for outcome in outcomes[20:22] if isinstance(outcome, DataError)] == [
        "missing",
        "truncated",
    ]
    assert outcomes[22] == b""


def test_a_document_that_is_not_there(folder: RemoteFolder) -> None:
    with pytest.raises(FileNotFoundError, match=r"index\.json"):
        folder.read("index.json")


@pytest.mark.parametrize("how", ["none", "profile", "refused"])
def test_without_credentials_one_line_says_what_to_set(
    uploaded: RemoteFolder, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    if how == "refused":
        proxy.faults.append(Fault("denied"))
    else:
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    if how == "profile":
        monkeypatch.setenv("AWS_PROFILE", "nobody")
    stranger = pickle.loads(pickle.dumps(uploaded))
    with pytest.raises(UsageError, match=r"no access to s3://.*AWS_PROFILE.*AWS_ACCESS_KEY_ID") as caught:
        stranger.read_range("a.tar", 0, 10)
    assert "\n" not in str(caught.value)
    assert len(proxy.downloads) == (1 if how == "refused" else 0)


def test_no_such_bucket(proxy: Proxy, cache: Cache) -> None:
    with pytest.raises(UsageError, match=r"s3://nowhere/index\.json: no such bucket"):
        open_folder("s3://nowhere", cache).write("index.json", b"{}")


def test_many_processes_download_a_file_once(uploaded: RemoteFolder, proxy: Proxy) -> None:
    assert uploaded.read_range("a.tar", 0, 4) == DATA[:4]  # the connection that a fork must not use
    proxy.downloads.clear()
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert pool.map(fetched, [uploaded] * 4, chunksize=1) == [DATA] * 4
        pool.close()
        pool.join()
    assert len(proxy.downloads) == 5


def _send_transfers(folder: RemoteFolder, pipe: Connection) -> None:
    pipe.send(folder.transfers())


def test_a_process_counts_its_own_transfers(uploaded: RemoteFolder) -> None:
    uploaded.read_range("a.tar", 0, 10)
    ours, theirs = multiprocessing.Pipe()
    with ours, theirs:
        child = multiprocessing.get_context("fork").Process(target=_send_transfers, args=(uploaded, theirs))
        child.start()
        assert ours.recv() == Transfers()
        child.join()
    assert uploaded.transfers() == Transfers(bytes=10)


def test_what_a_killed_download_leaves_is_removed(uploaded: RemoteFolder, proxy: Proxy) -> None:
    uploaded.write("b.tar", b"other")
    proxy.faults.extend([Fault("sound"), Fault("stall")])
    child = multiprocessing.get_context("fork").Process(target=fetched, args=(uploaded,))
    child.start()
    assert proxy.stalled.wait(20)
    child.kill()
    child.join()
    proxy.release.set()
    part = uploaded.cache.root / f"{SHA256}.part"
    assert part.stat().st_size == len(DATA)
    other = uploaded.fetch("b.tar", size=5, sha256=hashlib.sha256(b"other").hexdigest())
    assert other.read_bytes() == b"other"
    assert not part.exists()
    assert fetched(uploaded) == DATA


def test_the_environment_variables_of_fsspec_hold(
    folder: RemoteFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint = os.environ["AWS_ENDPOINT_URL"]
    monkeypatch.delenv("AWS_ENDPOINT_URL")
    monkeypatch.setitem(fsspec.config.conf, "s3", {})
    fsspec.config.set_conf_env(fsspec.config.conf, {"FSSPEC_S3_ENDPOINT_URL": endpoint})
    folder.write("a", b"abc")
    assert folder.read("a") == b"abc"


def test_a_closed_port_is_unreachable(folder: RemoteFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(MmiddError, match=r"unreachable: s3://.* in 6 attempts"):
        folder.read("a")
