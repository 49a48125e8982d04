"""The Ray cluster that actors run on."""

from __future__ import annotations

import importlib
import os
import signal
import socket
import threading
from typing import Any

from mmidd.errors import MissingExtra, UsageError

LOCAL = "local"

_PATIENCE_SECONDS = 10


def address() -> str:
    """What RAY_ADDRESS names, else `local`: a cluster of this machine alone, as long as the process."""
    return os.environ.get("RAY_ADDRESS") or LOCAL


def import_ray() -> Any:
    """The module.

    Raises:
        MissingExtra: Ray is not installed.
    """
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise MissingExtra("work on a cluster needs Ray; run `pip install 'mmidd[ray]'`") from error


def connect() -> Any:
    """The module, connected to the cluster at `address()` unless this process already is to one.

    Raises:
        MissingExtra: Ray is not installed.
        UsageError: no cluster answers there, or it has another Ray, Python or token.
    """
    ray = import_ray()
    if ray.is_initialized():
        return ray
    where = address()
    options = {"include_dashboard": False} if where == LOCAL else {}
    before = signal.getsignal(signal.SIGTERM)
    try:
        _knock(where)
        ray.init(where, log_to_driver=False, logging_level="error", **options)
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        raise UsageError(
            f"no usable Ray cluster at RAY_ADDRESS={where} ({one_line(error)}); "
            "start one with `ray start --head`, with the same Ray, Python and token, see docs/scale.md"
        ) from error
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)  # Ray puts its own there
    return ray


def _knock(where: str) -> None:
    """Raise `OSError` where nothing listens; Ray itself would try for minutes."""
    host, _, port = where.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=_PATIENCE_SECONDS).close()


def one_line(error: BaseException) -> str:
    """What went wrong: the last line of the error's cause."""
    text = str(getattr(error, "cause", error)).strip()
    return text.splitlines()[-1].strip()[:200] if text else type(error).__name__
