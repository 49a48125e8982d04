"""What is true of one face crop: its label, the forged regions with their places, and their traces."""

from __future__ import annotations

from dataclasses import dataclass, replace

from mmidd.errors import DataError, UsageError
from mmidd.schema import Label

REGIONS = (
    "left eye",
    "right eye",
    "nose",
    "nose ridge",
    "left jaw",
    "right jaw",
    "left cheek",
    "right cheek",
    "mouth",
    "center face",
    "full face",
)
"""The vocabulary of regions; left and right are the subject's."""

TRACES = ("colour", "light", "blurred", "sharpened", "shifted", "seam")
"""How a forged part can differ from the rest of the picture."""

_ROWS, _COLUMNS = ("upper", "centre", "lower"), ("left", "centre", "right")
_OTHER_SIDE = {"left": "right", "right": "left"}

PLACES = tuple(row if row == column else f"{row} {column}" for row in _ROWS for column in _COLUMNS)
"""Fields of a 3 x 3 grid over the image as the viewer sees it, row by row."""


@dataclass(frozen=True)
class Region:
    """A forged part of the face.

    Attributes:
        name: of `REGIONS`; left and right are the subject's.
        place: of `PLACES`, where it lies in the image as the viewer sees it.

    Raises:
        DataError: reason `finding`, an unknown name or place.
    """

    name: str
    place: str

    def __post_init__(self) -> None:
        if self.name not in REGIONS or self.place not in PLACES:
            raise DataError("finding", f"no such region or place: {self.name!r} at {self.place!r}")

    def mirrored(self) -> Region:
        """The region in the horizontally flipped picture, where it is of the subject's other side."""
        return Region(_swapped(self.name), _swapped(self.place))


@dataclass(frozen=True)
class Finding:
    """What is true of one picture.

    Attributes:
        label: real or fake.
        regions: forged parts, at least one for a fake, none for a real.
        traces: of `TRACES`, how the forged parts differ from the rest of this very picture; so where the
            rest was sharpened and not the parts, they are `blurred`.

    Raises:
        DataError: reason `finding`, what was given contradicts itself.
    """

    label: Label
    regions: tuple[Region, ...]
    traces: tuple[str, ...]

    def __post_init__(self) -> None:
        names = [region.name for region in self.regions]
        if bool(names) != (self.label == Label.FAKE) or (self.traces and not names):
            raise DataError("finding", f"a {self.label} picture with regions {names}, traces {self.traces}")
        if len({*names}) < len(names) or len({*self.traces}) < len(self.traces):
            raise DataError("finding", f"named twice: {names}, {self.traces}")
        if unknown := {*self.traces} - {*TRACES}:
            raise DataError("finding", f"no such trace: {sorted(unknown)}")

    def mirrored(self) -> Finding:
        """What is true of the horizontally flipped picture."""
        return replace(self, regions=tuple(region.mirrored() for region in self.regions))


def place(x: float, y: float) -> str:
    """Name of the field of a 3 x 3 grid over the image that holds a point.

    Args:
        x: share of the width, 0 (left) to 1.
        y: share of the height, 0 (top) to 1.

    Raises:
        UsageError: the point lies outside the image.
    """
    if not (0 <= x <= 1 and 0 <= y <= 1):
        raise UsageError(f"({x}, {y}) lies outside the image; give shares of width and height in 0..1")
    return PLACES[3 * min(int(3 * y), 2) + min(int(3 * x), 2)]


def _swapped(words: str) -> str:
    return " ".join(_OTHER_SIDE.get(word, word) for word in words.split())
