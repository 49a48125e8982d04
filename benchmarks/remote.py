"""MB/s of a verified download into the cache against s3fs and boto3, from a real S3 server on loopback.

    python benchmarks/remote.py --megabytes 64 --files 4

The contenders download the same objects; only mmidd computes the SHA-256, bounds the folder and syncs the
file to the disk. The best of `--rounds` interleaved rounds counts. Server and client share the machine's
cores, so CPU time of the client is given too. `moto_server` reads a whole object for every range that is
asked for, which costs mmidd and boto3 more than s3fs; the web server does not.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

import boto3  # type: ignore[import-untyped]
import fsspec

from mmidd.storage import Cache, Folder, open_folder

RESULTS = Path(__file__).parent / "results" / "remote.json"


@dataclass
class Timing:
    """Seconds of every round."""

    wall: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def measure(self, run: Callable[[], object]) -> None:
        """Time one round."""
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        self.wall.append(time.perf_counter() - wall)
        self.cpu.append(time.process_time() - cpu)


@dataclass(frozen=True)
class World:
    """Objects of the bucket and of the web server, and new folders to download into."""

    objects: dict[str, bytes]
    scratch: Path
    site: str
    numbers: Iterator[int] = field(default_factory=count)

    def new(self) -> Path:
        """A new empty folder."""
        folder = self.scratch / str(next(self.numbers))
        folder.mkdir()
        return folder


def main() -> None:
    """Run the contenders in turn and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=64)
    parser.add_argument("--files", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        endpoint = stack.enter_context(moto_server(scratch / "log"))
        os.environ |= {
            "AWS_ENDPOINT_URL": endpoint,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        objects = {f"{i}.tar": os.urandom(arguments.megabytes * 10**6) for i in range(arguments.files)}
        site = scratch / "site"
        site.mkdir()
        world = World(objects, scratch, stack.enter_context(web_server(site)))
        boto3.client("s3").create_bucket(Bucket="bench")
        folder = open_folder("s3://bench")
        for name, data in objects.items():
            folder.write(name, data)
            (site / name).write_bytes(data)
        timings = {name: Timing() for name in contenders(world)}
        for _ in range(arguments.rounds):
            for name, run in contenders(world).items():
                timings[name].measure(run)
    report(timings, arguments.megabytes * arguments.files, vars(arguments))


def contenders(world: World) -> dict[str, Callable[[], object]]:
    """What is timed; every call downloads into a new folder, SHA-256 alone runs from memory."""
    fs, client = fsspec.filesystem("s3"), boto3.client("s3")
    plain, web = world.new(), fsspec.filesystem("http")
    folder = open_folder("s3://bench", Cache(world.new()))
    site = open_folder(world.site, Cache(world.new()))
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in world.objects.items()}
    return {
        "s3: mmidd fetch": lambda: fetch_all(folder, world, hashes),
        "s3: s3fs get_file": lambda: [fs.get_file(f"bench/{name}", str(plain / name)) for name in hashes],
        "s3: boto3": lambda: [client.download_file("bench", name, str(plain / name)) for name in hashes],
        "http: mmidd fetch": lambda: fetch_all(site, world, hashes),
        "http: fsspec get_file": lambda: [
            web.get_file(f"{world.site}/{name}", str(plain / name)) for name in hashes
        ],
        "sha256 alone": lambda: [hashlib.sha256(data).digest() for data in world.objects.values()],
        "write and fsync alone": lambda: write_all(world.new(), world),
    }


def fetch_all(folder: Folder, world: World, hashes: dict[str, str]) -> None:
    """Fetch every object through the cache."""
    for name, data in world.objects.items():
        folder.fetch(name, size=len(data), sha256=hashes[name])


def write_all(folder: Path, world: World) -> None:
    """What the disk alone takes."""
    for name, data in world.objects.items():
        with (folder / name).open("wb") as file:
            file.write(data)
            os.fsync(file.fileno())


def report(timings: dict[str, Timing], megabytes: int, arguments: dict[str, int]) -> None:
    """Print the table and write the JSON."""
    rows = {}
    for name, timing in timings.items():
        best = min(timing.wall)
        rows[name] = {
            "mb_per_second": megabytes / best,
            "cpu_ms_per_mb": min(timing.cpu) / megabytes * 1e3,
            "wall_s": timing.wall,
        }
        print(f"{name:24} {megabytes / best:9.0f} MB/s  {rows[name]['cpu_ms_per_mb']:6.2f} CPU ms/MB")
    RESULTS.write_text(json.dumps({"arguments": arguments, "contenders": rows}, indent=1) + "\n")


@contextmanager
def moto_server(log: Path) -> Iterator[str]:
    """The endpoint of a new S3 server process."""
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", "0"]
    with log.open("w") as out, subprocess.Popen(command, stdout=out, stderr=out) as server:
        try:
            while not (found := re.search(r"http://127\.0\.0\.1:\d+", log.read_text())):
                time.sleep(0.05)
            yield found[0]
        finally:
            server.kill()


@contextmanager
def web_server(root: Path) -> Iterator[str]:
    """The URL of a new process that serves a folder by sendfile, ranges too."""
    code = (
        "import sys; from aiohttp import web; app = web.Application();"
        "app.router.add_static('/', sys.argv[1]);"
        "web.run_app(app, host='127.0.0.1', port=int(sys.argv[2]), print=None)"
    )
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with subprocess.Popen([sys.executable, "-c", code, str(root), str(port)]) as server:
        try:
            while socket.socket().connect_ex(("127.0.0.1", port)):
                time.sleep(0.05)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.kill()


if __name__ == "__main__":
    main()
