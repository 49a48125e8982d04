"""`vllm serve` as a test uses it: on a free loopback port, offline, on two cores, and gone afterwards."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

EXECUTABLE = "MMIDD_VLLM"
MODEL = "tiny-qwen2-vl"

_START_SECONDS = 300
_STOP_SECONDS = 30
_TAIL_LINES = 60
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "DO_NOT_TRACK": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "OMP_NUM_THREADS": "2",
    "TOKENIZERS_PARALLELISM": "false",
}
_OPTIONS = (
    "--host=127.0.0.1",
    f"--served-model-name={MODEL}",
    "--dtype=float32",
    "--max-model-len=2048",
    "--max-num-seqs=8",
    "--enforce-eager",
    '--limit-mm-per-prompt={"image": 1, "video": 0}',
    '--structured-outputs-config={"backend": "xgrammar", "disable_any_whitespace": true}',
)


class ServerError(RuntimeError):
    """The engine did not come up."""


@dataclass(frozen=True)
class Server:
    """A running engine; its process leads a process group of its own."""

    process: subprocess.Popen[bytes]
    port: int
    log: Path
    model: str = MODEL

    @property
    def url(self) -> str:
        """The base of the OpenAI-compatible routes."""
        return f"http://127.0.0.1:{self.port}/v1"

    def kill(self) -> None:
        """End every process of the engine at once, as a lost machine would."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Ask the engine to end, then make sure that none of its processes is left."""
        if self.process.poll() is None:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(_STOP_SECONDS)
        self.kill()

    def tail(self) -> str:
        """The last lines that the engine wrote."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:])


@contextmanager
def serving(checkpoint: Path, port: int | None = None) -> Iterator[Server]:
    """Serve `checkpoint`; on the port of an engine that was killed, clients find the new one."""
    with tempfile.TemporaryDirectory(prefix="mmidd-vllm-") as folder:
        server = _start(checkpoint, _free_port() if port is None else port, Path(folder))
        try:
            _wait(server)
            yield server
        finally:
            server.stop()


def _start(checkpoint: Path, port: int, folder: Path) -> Server:
    log = folder / "vllm.log"
    environment = os.environ | ENVIRONMENT | {"VLLM_CACHE_ROOT": str(folder / "cache")}
    command = [os.environ[EXECUTABLE], "serve", str(checkpoint), f"--port={port}", *_OPTIONS]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Server(process, port, log)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _wait(server: Server) -> None:
    end = time.monotonic() + _START_SECONDS
    while not _healthy(server.port):
        if server.process.poll() is not None:
            raise ServerError(f"vllm ended with status {server.process.returncode}:\n{server.tail()}")
        if time.monotonic() > end:
            raise ServerError(f"vllm did not answer within {_START_SECONDS} s:\n{server.tail()}")
        time.sleep(0.5)


def _healthy(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5) as answer:
            return int(answer.status) == 200
    except (urllib.error.URLError, OSError):
        return False
