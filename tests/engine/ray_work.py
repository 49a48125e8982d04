"""What the units of the Ray tests do; light to import, as every process of the cluster does."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from mmidd.engine.units import Blob, Row, content_id

KILLER = 250


def slow(payload: tuple[int, Path]) -> list[Row]:
    """A row with 200 kB; notes that it was called, and waits until two processes were."""
    number, log = payload
    with log.open("a") as file:
        file.write(f"{number} {os.getpid()}\n")
    while len({line.split()[1] for line in log.read_text().splitlines()}) < 2:
        time.sleep(0.05)
    time.sleep(0.1)
    data = number.to_bytes(4, "big") * 50_000
    return [Row({"sample_id": content_id(number), "frame_index": number}, blobs=(Blob(data, "jpg"),))]


def kill_actor(payload: int) -> list[Row]:
    """A row; one unit kills the actor whose process it is in."""
    if payload == KILLER:
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    return [Row({"sample_id": str(payload)})]
