from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
import s3fs

from mmidd.storage import Cache
from mmidd.storage.remote import RemoteFolder
from mmidd.storage.requests import Backoff
from tests.storage.faults import Proxy, proxy_before

_folders = count()


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, int]]:
    """moto's server process, on a port of its own choice."""
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", "0"]
    log = tmp_path_factory.mktemp("s3") / "log"
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out) as server:
        try:
            while not (found := re.search(r"http://127\.0\.0\.1:(\d+)", log.read_text())):
                assert server.poll() is None, log.read_text()
                time.sleep(0.05)
            _make_bucket(found[0])
            yield "127.0.0.1", int(found[1])
        finally:
            server.kill()


def _make_bucket(endpoint: str) -> None:
    s3fs.S3FileSystem(endpoint_url=endpoint, key="test", secret="test", skip_instance_cache=True).mkdir(
        "shards"
    )


@pytest.fixture
def proxy(s3_server: tuple[str, int], monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """The way to the S3 server, which the environment names."""
    for name in (
        "AWS_PROFILE",
        "AWS_SESSION_TOKEN",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "http_proxy",
        "https_proxy",
    ):
        monkeypatch.delenv(name, raising=False)
    with proxy_before(*s3_server) as proxy:
        settings = {
            "AWS_ENDPOINT_URL": proxy.url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        }
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        yield proxy


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache", 2**24)


@pytest.fixture
def folder(proxy: Proxy, cache: Cache) -> RemoteFolder:
    """A new folder in the bucket, that tries again soon."""
    return RemoteFolder(f"s3://shards/{next(_folders)}", cache, Backoff(base=0.001))
