"""Workers compute in one thread, whichever library they load and whenever."""

from __future__ import annotations

import cv2
import threadpoolctl

from mmidd.engine.pool import Guard


def threads() -> set[int]:
    import scipy.linalg  # noqa: F401 - brings its own BLAS after the worker has started

    return {pool["num_threads"] for pool in threadpoolctl.threadpool_info()} | {cv2.getNumThreads()}


def test_a_worker_has_one_thread_in_every_library() -> None:
    with Guard(time_limit=60, memory_limit=4 << 30) as guard:
        assert guard.call(threads) == {1}
