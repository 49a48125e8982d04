"""Four classical forgeries on portrait tiles, one for each forgery type.

Every function returns a still; the caller films it with the camera that also films the
real portrait. A real portrait passes through `retake`, a warp by a fraction of a
pixel, so that interpolation is no cue of a forgery.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mmidd.demo.portraits import Pixels, Points, Portrait
from mmidd.demo.warp import BROWS, EYES, MOUTH, Mask, blend, forehead, hull, soften, warp


@dataclass(frozen=True)
class Still:
    """A tile to be filmed.

    Attributes:
        image: RGB, (480, 416, 3).
        matte: what of the tile covers the background, 0..255.
        region: 255 where the image is forged, else 0.
    """

    image: Pixels
    matte: Pixels
    region: Pixels


Forgery = Callable[[Sequence[Portrait], np.random.Generator, float], Still]
"""(people, generator, strength) -> still; the first person is the target, strength 1 the default."""


def real(people: Sequence[Portrait], rng: np.random.Generator, strength: float) -> Still:
    """The first person's portrait as it is."""
    del strength
    return retake(people[0], rng)


def retake(portrait: Portrait, rng: np.random.Generator) -> Still:
    """A real portrait, resampled as every forgery is."""
    image = warp(portrait.image, portrait.points, _jitter(portrait.points, rng))
    return Still(image, portrait.matte, np.zeros_like(portrait.matte))


@dataclass(frozen=True)
class Swap:
    """Face swap: the donor's face, warped to the target's landmarks and blended in (FS).

    Attributes:
        forehead: height of the hull above the brows, in units of brow-to-chin distance.
        match: share of the colour difference that is removed, 0..1.
        tint: size of the colour error left in the face, in 8-bit LAB units.
        feather: width of the seam in pixels.
    """

    forehead: float
    match: float
    tint: float
    feather: float

    def __call__(self, people: Sequence[Portrait], rng: np.random.Generator, strength: float) -> Still:
        """Gives the first person the second one's face."""
        target, donor = people
        base = retake(target, rng)
        above, below = (forehead(p.points, self.forehead) for p in (donor, target))
        face = warp(
            donor.image,
            np.concatenate([donor.points, above]),
            np.concatenate([target.points, below]),
            edge=False,
        )
        inside = hull(np.concatenate([target.points, below]))
        face = _match_colour(face, base.image, inside > 0, self.match, _tint(self.tint * strength, rng))
        soft = soften(inside, self.feather)
        return _composed(face, base, soft)


@dataclass(frozen=True)
class Reenact:
    """Expression transfer: the target's own face, warped towards the donor's expression (FR).

    Attributes:
        gain: how far the mouth, eyes and brows go towards the donor's, 1 = all the way.
        ghost: share of the old lower face that shines through the new one, 0..1.
        tint: size of the shading error of the re-rendered face, in 8-bit LAB units.
        feather: width of its edge in pixels.
    """

    gain: float
    ghost: float
    tint: float
    feather: float

    def __call__(self, people: Sequence[Portrait], rng: np.random.Generator, strength: float) -> Still:
        """Gives the first person the second one's expression."""
        target, donor = people
        base = retake(target, rng)
        moved = _expression(target.points, donor.points, self.gain * strength, rng)
        face = warp(target.image, target.points, moved)
        mouth = soften(hull(target.points[np.r_[2:15, 31:36]]), 12)
        face = blend(base.image, face, mouth * min(self.ghost * strength, 0.5))
        inside = hull(np.concatenate([target.points, forehead(target.points, 0.1)]))
        face = _match_colour(face, base.image, inside > 0, 0.0, _tint(self.tint * strength, rng))
        soft = soften(inside, self.feather)
        return _composed(face, base, soft)


def morph(people: Sequence[Portrait], rng: np.random.Generator, strength: float) -> Still:
    """A new head: several people warped to their mean shape and mixed (EFS).

    Coarse bands are averaged; fine bands are summed with weights of unit energy, so that a
    mixture is as sharp as its parts and shows their doubled contours. The surroundings are
    those of the first person.
    """
    weights = rng.dirichlet(np.full(len(people), 30.0))
    weights[1:] *= min(strength, 1.0)
    weights /= weights.sum()
    shape = np.tensordot(weights, np.stack([p.points for p in people]), 1).astype(np.float32)
    warped = [warp(p.image, p.points, shape).astype(np.float32) for p in people]
    coarse = np.stack([cv2.GaussianBlur(image, (0, 0), 3) for image in warped])
    mixed = np.tensordot(weights, coarse, 1)
    mixed += np.tensordot(weights / np.linalg.norm(weights), np.stack(warped) - coarse, 1)
    head = soften(hull(_scaled(np.concatenate([shape, forehead(shape, 0.5)]), 1.25, 1.2)), 25)
    return _composed(mixed, retake(people[0], rng), head)


def retouch(people: Sequence[Portrait], rng: np.random.Generator, strength: float) -> Still:
    """Local editing of the first person: two or three of eyes, mouth and skin (FE)."""
    target = people[0]
    base = retake(target, rng)
    edits = rng.permutation(3)[: rng.integers(2, 4)]
    moved = _jitter(target.points, rng)
    if 0 in edits:
        for eye in EYES:
            moved[eye] = _scaled(moved[eye], 1 + 0.3 * strength, 1 + 0.6 * strength)
    if 1 in edits:
        wide = 1 + strength * rng.choice((-0.25, 0.25))
        moved[MOUTH] = _scaled(moved[MOUTH], wide, 1 + 0.35 * strength)
    image = warp(target.image, target.points, moved)
    inside = soften(hull(np.concatenate([target.points, forehead(target.points, 0.2)])), 9)
    if 2 in edits:
        image = blend(_smooth_skin(image, strength), image, inside * _skin(target.points))
    return _composed(image, base, inside)


FF_METHODS: dict[str, Forgery] = {
    "Deepfakes": Swap(forehead=0.05, match=0.6, tint=9.0, feather=13.0),
    "FaceSwap": Swap(forehead=0.2, match=0.35, tint=9.0, feather=5.0),
    "FaceShifter": Swap(forehead=0.3, match=0.8, tint=10.0, feather=21.0),
    "Face2Face": Reenact(gain=1.0, ghost=0.0, tint=8.0, feather=7.0),
    "NeuralTextures": Reenact(gain=1.2, ghost=0.35, tint=4.0, feather=15.0),
}
"""FaceForensics++'s methods by folder name, each a variation of one of the two functions."""

FORGERIES: dict[str, Forgery] = {"real": real, "morph": morph, "retouch": retouch, **FF_METHODS}
"""Every kind of still by name, the real one included."""


def _composed(face: NDArray[np.generic], base: Still, soft: Mask) -> Still:
    """Lays the forged content over the real still, as sharp as what it replaces.

    Sharpness must not tell a forgery.
    """
    content, inside = face.astype(np.float32), soft > 0.5
    coarse = cv2.GaussianBlur(content, (0, 0), 2)
    wanted = _sharpness(base.image.astype(np.float32), inside)
    share = np.sqrt(wanted / (_sharpness(content, inside) + 1e-3))
    image = blend(coarse + min(share, 1.5) * (content - coarse), base.image, soft)
    return Still(image, base.matte, _region(soft))


def _sharpness(image: NDArray[np.float32], inside: NDArray[np.bool_]) -> float:
    """Variance of the Laplacian."""
    return float(np.asarray(cv2.Laplacian(image, cv2.CV_32F))[inside].var())


def _jitter(points: Points, rng: np.random.Generator) -> Points:
    return np.asarray(points + rng.normal(0, 0.4, points.shape), np.float32)


def _scaled(points: Points, x: float, y: float) -> Points:
    centre = points.mean(0)
    return np.asarray(centre + (points - centre) * (x, y), np.float32)


def _tint(size: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """A LAB offset of random direction and the given length, lightness counting half."""
    direction = rng.normal(size=3) * (2.0, 1.0, 1.0)
    return size * direction / np.linalg.norm(direction / (2.0, 1.0, 1.0))


def _match_colour(
    face: Pixels, base: Pixels, inside: NDArray[np.bool_], share: float, offset: NDArray[np.float64]
) -> Pixels:
    """Moves the face's LAB mean and deviation towards the base's by `share`, then adds `offset`."""
    lab, wanted = (cv2.cvtColor(image, cv2.COLOR_RGB2LAB).astype(np.float32) for image in (face, base))
    mean, mean_wanted = lab[inside].mean(0), wanted[inside].mean(0)
    scale = 1 + share * (wanted[inside].std(0) / (lab[inside].std(0) + 1e-3) - 1)
    moved = (lab - mean) * scale + mean + share * (mean_wanted - mean) + offset
    return np.asarray(cv2.cvtColor(np.clip(moved, 0, 255).astype(np.uint8), cv2.COLOR_LAB2RGB), np.uint8)


def _expression(target: Points, donor: Points, gain: float, rng: np.random.Generator) -> Points:
    """The target's landmarks with mouth, eyes and brows moved towards the donor's shape of them.

    The opening of the mouth changes by at least a quarter of its height, so that two
    people with the same expression still give a forgery.
    """
    moved = _jitter(target, rng)
    for part in (MOUTH, *EYES, BROWS):
        shift = (donor[part] - donor[part].mean(0)) - (target[part] - target[part].mean(0))
        moved[part] += gain * shift
    before, after = np.ptp(target[MOUTH, 1]), np.ptp(moved[MOUTH, 1])
    if abs(after / before - 1) < 0.25:
        moved[MOUTH] = _scaled(moved[MOUTH], 1.0, 1 + gain * rng.choice((-0.3, 0.45)))
    return moved


def _smooth_skin(image: Pixels, strength: float) -> Pixels:
    smooth = cv2.bilateralFilter(image, 11, 60 * strength, 9)
    return np.asarray(cv2.convertScaleAbs(smooth, alpha=1 + 0.08 * strength), np.uint8)


def _skin(points: Points) -> Mask:
    """1 on skin, 0 on eyes and mouth, with soft edges."""
    features = np.maximum.reduce([hull(points[part]) for part in (MOUTH, *EYES)])
    return 1 - np.asarray(cv2.GaussianBlur(cv2.dilate(features, np.ones((9, 9))), (0, 0), 3), np.float32)


def _region(soft: Mask) -> Pixels:
    return (soft > 0.1).astype(np.uint8) * np.uint8(255)
