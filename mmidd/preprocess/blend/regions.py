"""What can be cut out of a face: the hulls of self-blended images, and named facial regions.

Everything is defined once, on the 68 iBUG points; `blend.landmarks` brings other schemes there.
Left and right are the subject's: points 36-41 are the right eye, on the left of the image.

The hulls are those that SBI (Shiohara and Yamasaki, CVPR 2022) takes from Face X-ray. The named regions are
mmidd's own: Face X-ray's parts of the same names reach from brow to chin, so that a text which
names them would say "right eye" of half a face.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import chain, combinations

from mmidd.preprocess.blend.landmarks import FaceMarks, Points

Group = tuple[int, ...]


def _group(*parts: range | int) -> Group:
    return tuple(chain.from_iterable((p,) if isinstance(p, int) else p for p in parts))


JAW, BROWS, MOUTH = range(17), range(17, 27), range(48, 68)
ALL = _group(range(68))
_RIGHT_EYE_TO_BROW = ((17, None), (18, 36), (19, 37), (20, 38), (21, 39))
_LEFT_EYE_TO_BROW = ((22, 42), (23, 43), (24, 44), (25, 45), (26, None))

_DFL_FULL = (
    _group(JAW, MOUTH),
    _group(range(27, 31), 33),
    _group(BROWS, 0, 27, 16, 33),
)
_COMPONENTS = (
    _group(range(9), 17),
    _group(range(8, 17), 26),
    _group(range(17, 20), 8),
    _group(range(24, 27), 8),
    _group(range(19, 25), 8),
    _group(range(17, 22), 27, range(31, 36), 8),
    _group(range(22, 27), 27, range(31, 36), 8),
    _group(range(27, 36)),
)


def _as_they_are(points: Points) -> Points:
    return points


def _raised_brows(points: Points) -> Points:
    """Every brow point moved up by half of its distance to the eye below it."""
    raised = points.copy()
    outer_right = (3 * points[36] + points[0]) / 4
    outer_left = (3 * points[45] + points[16]) / 4
    for pairs, outer in ((_RIGHT_EYE_TO_BROW, outer_right), (_LEFT_EYE_TO_BROW, outer_left)):
        for brow, eye in pairs:
            under = outer if eye is None else points[eye]
            raised[brow] += (points[brow] - under) / 2
    return raised


HULLS: dict[str, tuple[tuple[Group, ...], Callable[[Points], Points]]] = {
    "dfl_full": (_DFL_FULL, _as_they_are),
    "extended": (_DFL_FULL, _raised_brows),
    "components": (_COMPONENTS, _as_they_are),
    "facehull": ((ALL,), _as_they_are),
}
"""SBI's families: each the union of the convex hulls of landmark groups, after the landmarks are moved."""

FULL_FACE, CENTER_FACE = "full face", "center face"

REGIONS: dict[str, Group] = {
    "left eye": _group(range(22, 27), range(42, 48)),
    "right eye": _group(range(17, 22), range(36, 42)),
    "nose": _group(range(27, 36)),
    "nose ridge": _group(21, 22, range(27, 31), 39, 42),
    "left jaw": _group(range(8, 14), 54, 55, 56),
    "right jaw": _group(range(3, 9), 48, 58, 59),
    "left cheek": _group(range(13, 16), 35, 46, 54),
    "right cheek": _group(range(1, 4), 31, 41, 48),
    "mouth": _group(MOUTH),
    CENTER_FACE: _group(range(17, 68)),
    FULL_FACE: ALL,
}
"""Named regions: each the convex hull of its points; the full face has the forehead points too."""

_INSIDE = {
    FULL_FACE: frozenset(REGIONS) - {FULL_FACE},
    CENTER_FACE: frozenset({"left eye", "right eye", "nose", "nose ridge", "mouth"}),
}


@cache
def choices(count: int) -> tuple[tuple[str, ...], ...]:
    """All sets of `count` regions of which none lies inside another, since it could not be told from it."""
    return tuple(
        names
        for names in combinations(REGIONS, count)
        if not any(_INSIDE.get(name, frozenset()) & set(names) for name in names)
    )


def region_points(marks: FaceMarks, name: str) -> Points:
    """The points whose convex hull a named region is."""
    return marks.outline() if name == FULL_FACE else marks.points[list(REGIONS[name])]


def hull_points(marks: FaceMarks, family: str) -> list[Points]:
    """The groups of points whose convex hulls a family is the union of."""
    if family == "facehull":
        return [marks.outline()]
    groups, move = HULLS[family]
    moved = move(marks.points)
    return [moved[list(group)] for group in groups]
