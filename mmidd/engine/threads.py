"""Worker processes share the cores, so each of them computes in one thread."""

from __future__ import annotations

import os

_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def single_thread() -> None:
    """Limit this process to one thread in OpenCV, BLAS and OpenMP, loaded already or later.

    Idle BLAS threads spin: two workers with two of them each on two cores run three times slower
    than one worker.
    """
    import cv2
    import threadpoolctl

    os.environ.update(dict.fromkeys(_VARIABLES, "1"))
    threadpoolctl.threadpool_limits(1)
    cv2.setNumThreads(1)
