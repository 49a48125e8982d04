"""Pictures of where files are forged, one per file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mmidd.errors import UsageError
from mmidd.evaluation.heatmap import overlay
from mmidd.evaluation.look import Scorer
from mmidd.files import renamed, write_errors


class MapFolder:
    """A folder of PNG files, named after the files they are of.

    Args:
        folder: where they go.
        run: whose maps are drawn.
        size: side of its crops in pixels.

    Raises:
        UsageError: the run does not tell pixels apart.
    """

    def __init__(self, folder: Path, run: Scorer, size: int) -> None:
        if run.score([np.zeros((size, size, 3), np.uint8)]).maps is None:
            raise UsageError(
                "the run does not tell where a face is forged; leave --maps out, or pass a run of "
                "`mmidd train kfd`"
            )
        self._folder = folder
        self._taken: set[str] = set()

    def save(self, source: Path, crop: NDArray[np.uint8], found: NDArray[np.float32]) -> Path:
        """Draw a map (S, S) over its crop (H, W, 3); of files with one name each gets a picture of its own.

        Raises:
            StorageError: it cannot be written.
        """
        name, number = f"{source.name}.png", 1
        while name in self._taken:
            number += 1
            name = f"{source.name}-{number}.png"
        self._taken.add(name)
        path = self._folder / name
        with write_errors(path, "free space, or choose another folder with --maps"):
            self._folder.mkdir(parents=True, exist_ok=True)
            with renamed(self._folder, name) as partial:
                Image.fromarray(overlay(crop, found)).save(partial, "PNG")
        return path
