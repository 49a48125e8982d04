"""Portraits for the demo world: found, landmarked and brought to one tile geometry."""

from __future__ import annotations

import csv
import importlib.util
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from mmidd.errors import UsageError

Pixels = NDArray[np.uint8]
Points = NDArray[np.float32]

TILE = (416, 480)
"""Width and height of a portrait tile in pixels."""
_FACE_WIDTH = 160.0
_FACE_CENTRE = (208.0, 240.0)
_FEATHER = 14
_IMAGE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp"}


@dataclass(frozen=True)
class PackagedPhoto:
    """A photo of real people inside an installed package; it is read in place and never copied."""

    name: str
    package: str
    path: str
    people: int
    terms: str


PACKAGED_PHOTOS = (
    PackagedPhoto(
        "grace_hopper",
        "matplotlib",
        "mpl-data/sample_data/grace_hopper.jpg",
        1,
        "US Navy portrait of Grace Hopper, a work of the US Government: public domain",
    ),
    PackagedPhoto(
        "eileen_collins",
        "skimage",
        "data/astronaut.png",
        1,
        "NASA Great Images portrait of Eileen Collins; scikit-image's docstring: no known copyright "
        "restrictions, released into the public domain",
    ),
    PackagedPhoto(
        "insightface_t1",
        "insightface",
        "data/images/t1.jpg",
        6,
        "sample photo of six people in insightface's wheel; the wheel's MIT licence covers the code and "
        "states nothing about the photo: used in place, for tests only",
    ),
)


@dataclass(frozen=True)
class Portrait:
    """One face in tile geometry: upright, jaw width 160 px, centred.

    Attributes:
        identity: name of the person.
        image: RGB tile, (480, 416, 3).
        matte: what of the tile the photo covers, 0..255, soft towards the photo's edge.
        points: the 68 iBUG landmarks in tile pixels.
    """

    identity: str
    image: Pixels
    matte: Pixels
    points: Points


@dataclass
class PortraitSet:
    """Usable portraits, the reasons why others are not, and notes for the user."""

    portraits: list[Portrait] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    notes: list[str] = field(default_factory=list)


class FaceFinder:
    """dlib's frontal HOG detector with its 68-point shape predictor (both inside wheels)."""

    def __init__(self) -> None:
        import dlib
        import face_recognition_models

        self._detect: Any = dlib.get_frontal_face_detector()
        self._predict: Any = dlib.shape_predictor(face_recognition_models.pose_predictor_model_location())
        self._rectangle: Any = dlib.rectangle

    def find(self, image: Pixels, long_side: int) -> list[Points]:
        """68 landmarks of every face, best score first, in pixels of `image`.

        Args:
            image: RGB.
            long_side: the image is scaled to this longer side for detection; faces
                of at least 80 px there are found.
        """
        scale = long_side / max(image.shape[:2])
        scaled = np.ascontiguousarray(cv2.resize(image, None, fx=scale, fy=scale), np.uint8)
        boxes, scores, _ = self._detect.run(scaled, 0, 0.0)
        order = sorted(range(len(boxes)), key=lambda i: -scores[i])
        return [self._landmarks(scaled, boxes[i]) / scale for i in order]

    def _landmarks(self, image: Pixels, box: Any) -> Points:
        shape = self._predict(image, box)
        return np.array([(point.x, point.y) for point in shape.parts()], np.float32)


def packaged_portraits() -> PortraitSet:
    """The portraits inside installed packages; a missing package or file becomes a note."""
    found, finder = PortraitSet(), FaceFinder()
    for photo in PACKAGED_PHOTOS:
        path = _locate(photo)
        if path is None:
            found.notes.append(f"{photo.name}: no {photo.path} in package {photo.package}, skipped")
            found.skipped["package absent"] += photo.people
            continue
        image = load_rgb(path)
        faces = finder.find(image, 1280 if photo.people > 1 else 640)[: photo.people]
        faces.sort(key=lambda points: float(points[:, 0].mean()))
        found.skipped.update({"no face": photo.people - len(faces)} if len(faces) < photo.people else {})
        for k, points in enumerate(faces):
            name = photo.name if photo.people == 1 else f"{photo.name}_{k}"
            others = [other for j, other in enumerate(faces) if j != k]
            found.portraits.append(to_tile(name, image, points, others))
    return found


def portraits_in(folder: Path, limit: int, rng: np.random.Generator) -> PortraitSet:
    """Portraits of up to `limit` people from a folder of face photos, in an order drawn by `rng`.

    The identity of a photo is its file stem unless `MANIFEST.csv` (columns `file` and
    `identity`, matched by file name) lies in the folder or beside it. A photo must show
    exactly one whole face, at least 80 px wide.

    Raises:
        UsageError: the folder is missing or holds no images.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; give --portraits a folder of face photos")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in _IMAGE_SUFFIXES)
    if not paths:
        raise UsageError(
            f"no photos ({', '.join(sorted(_IMAGE_SUFFIXES))}) under {folder}; name another folder"
        )
    names, found, finder = _identities(folder), PortraitSet(), FaceFinder()
    taken: set[str] = set()
    for index in rng.permutation(len(paths)):
        if len(taken) == limit:
            break
        path = paths[index]
        identity = names.get(path.name, path.stem)
        if identity in taken:
            found.skipped["another photo of a person already used"] += 1
            continue
        outcome = _only_face(path, finder)
        if isinstance(outcome, str):
            found.skipped[outcome] += 1
            continue
        taken.add(identity)
        found.portraits.append(to_tile(identity, *outcome, []))
    return found


def load_rgb(path: Path) -> Pixels:
    """An image file as upright RGB pixels."""
    with Image.open(path) as image:
        return np.asarray(ImageOps.exif_transpose(image).convert("RGB"))


def to_tile(identity: str, image: Pixels, points: Points, others: list[Points]) -> Portrait:
    """Rotates, scales and crops a photo so that the face fills the tile's standard place.

    Args:
        identity: name of the person.
        image: RGB photo.
        points: the person's 68 landmarks in the photo.
        others: landmarks of other people in it, who are matted away.
    """
    matrix = _upright(points)
    tile = cv2.warpAffine(image, matrix, TILE, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    seen = cv2.warpAffine(_own_region(image.shape[:2], points, others), matrix, TILE, flags=cv2.INTER_LINEAR)
    padded = cv2.copyMakeBorder(seen, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    distance = cv2.distanceTransform((padded > 127).astype(np.uint8), cv2.DIST_L2, 5)[1:-1, 1:-1]
    matte = np.clip((distance - 2) / _FEATHER, 0, 1) * 255
    where = np.asarray(cv2.transform(points[None], matrix)[0], np.float32)
    return Portrait(identity, np.asarray(tile, np.uint8), matte.astype(np.uint8), where)


def _upright(points: Points) -> NDArray[np.float64]:
    eyes = points[42:48].mean(0) - points[36:42].mean(0)
    angle = np.degrees(np.arctan2(eyes[1], eyes[0]))
    scale = _FACE_WIDTH / float(np.linalg.norm(points[16] - points[0]))
    centre = (points[27] + points[33]) / 2
    matrix = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), float(angle), scale)
    matrix[:, 2] += np.array(_FACE_CENTRE) - centre
    return np.asarray(matrix, np.float64)


def _own_region(shape: tuple[int, ...], points: Points, others: list[Points]) -> Pixels:
    """255 where a pixel is nearer to this face than to any other."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    own = np.ones(shape[:2], bool)
    x, y = points.mean(0)
    for other in others:
        u, v = other.mean(0)
        own &= (columns - x) ** 2 + (rows - y) ** 2 < (columns - u) ** 2 + (rows - v) ** 2
    return own.astype(np.uint8) * np.uint8(255)


def _only_face(path: Path, finder: FaceFinder) -> tuple[Pixels, Points] | str:
    try:
        image = load_rgb(path)
    except (OSError, ValueError, Image.DecompressionBombError):
        return "unreadable image"
    faces = finder.find(image, 640)
    if len(faces) != 1:
        return "no face" if not faces else "more than one face"
    if np.linalg.norm(faces[0][16] - faces[0][0]) < 80:
        return "face narrower than 80 px"
    if (faces[0] < 0).any() or (faces[0] >= image.shape[1::-1]).any():
        return "face cut by the photo's edge"
    return image, faces[0]


def _locate(photo: PackagedPhoto) -> Path | None:
    """Finds the file without importing its package (insightface is installed without its dependencies)."""
    spec = importlib.util.find_spec(photo.package)
    roots: Iterator[str] = iter(spec.submodule_search_locations or []) if spec else iter(())
    return next((path for root in roots if (path := Path(root) / photo.path).is_file()), None)


def _identities(folder: Path) -> dict[str, str]:
    for manifest in (folder / "MANIFEST.csv", folder.parent / "MANIFEST.csv"):
        if manifest.is_file():
            with manifest.open(newline="", encoding="utf-8") as lines:
                return {Path(row["file"]).name: row["identity"] for row in csv.DictReader(lines)}
    return {}
