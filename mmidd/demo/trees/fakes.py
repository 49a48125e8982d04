"""Small trees of DF40's training archive, DeepFakeFace and DFFD."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from itertools import count
from pathlib import Path

from mmidd.demo.cast import Cast
from mmidd.demo.ffpp import ROOT as FF
from mmidd.demo.ffpp import Clip, Pairs
from mmidd.demo.jobs import Job, Shot
from mmidd.demo.portraits import Portrait
from mmidd.demo.trees.tree import COUPLES, Tree, couples, name_in, scene
from mmidd.schema import Split

CROP_DF40, CROP_DFFD = (256, 256), (299, 299)
DF40_METHODS = {
    "simswap": "Deepfakes",
    "blendface": "FaceShifter",
    "fomm": "Face2Face",
    "tpsm": "NeuralTextures",
}
_MOST_PAIRS = 4


def df40(pairs: Pairs) -> Tree:
    """Four methods on clips of the `ff++` tree, SadTalker's names, and two of whole faces."""
    root = Path("df40/DF40_train")
    both = [pair for a, b in pairs[Split.TRAIN][:_MOST_PAIRS] for pair in ((a, b), (b, a))]
    return Tree(tuple(_df40_job(root, number, *pair) for number, pair in enumerate(both)))


def _df40_job(root: Path, number: int, target: Clip, donor: Clip) -> Job:
    people = target.person, donor.person
    name = f"{target.name}_{donor.name}"
    clips = {f"{method}/frames/{name}": made for method, made in DF40_METHODS.items()}
    clips[f"sadtalker/frames/{target.name}##{number}_demo"] = "Face2Face"
    shots = [
        Shot(root / path, made, people, crop=CROP_DF40, frames="{:03d}.png") for path, made in clips.items()
    ]
    for method in ("StyleGAN2", "sd2.1"):
        shots.append(
            Shot(root / method / target.name / f"seed{number:04d}.png", "morph", people, crop=CROP_DF40)
        )
    key = FF / "original_sequences/youtube/c23/videos" / f"{target.name}.mp4"
    return scene(key.as_posix(), *shots)


def dff(cast: Cast) -> Tree:
    """Couples of partners in all four folders, and `wiki.pickle`."""
    root = Path("dff")
    numbers = map(str, count(10_000_017))
    jobs: list[Job] = []
    pairs: list[tuple[str, str]] = []
    for split in COUPLES:
        for couple in couples(cast, split, 2 * COUPLES[split]):
            a, b = (_wiki_path(split, numbers) for _ in couple)
            pairs += [(a, b), (b, a)]
            jobs += [*_dff_jobs(root, a, b, couple), *_dff_jobs(root, b, a, couple[::-1])]
    named = ([a for a, _ in pairs], ["A demo person, celebrity, 30-year-old"] * len(pairs), pairs)
    return Tree(tuple(jobs), {root / "data/wiki.pickle": pickle.dumps(named, protocol=4)})


def _wiki_path(split: Split, numbers: Iterator[str]) -> str:
    number = name_in(split, numbers, lambda name: f"dff/{name}")
    return f"{number[-2:]}/{number}_1981-05-05_2009.jpg"


def _dff_jobs(root: Path, own: str, partner: str, people: tuple[Portrait, ...]) -> Iterator[Job]:
    """The photo of A with its inpainting; A's face on the photo of B; a new face by B's prompt."""
    a, b = people
    inside = (Shot(root / "wiki" / own, "real", (a,)), Shot(root / "inpainting" / own, "morph", (a, b)))
    yield scene((root / "wiki" / own).as_posix(), *inside, size=(512, 512))
    canvas = (root / "wiki" / partner).as_posix()
    yield scene(canvas, Shot(root / "insight" / own, "Deepfakes", (b, a)), size=(512, 512))
    free = root / "text2img" / own
    yield scene(free.as_posix(), Shot(free, "morph", (b, a)), size=(512, 512))


def dffd(cast: Cast) -> Tree:
    """FFHQ, FaceApp with masks and StyleGAN crops in three splits."""
    root = Path("dffd")
    jobs: list[Job] = []
    for split, folder in ((Split.TRAIN, "train"), (Split.VAL, "validation"), (Split.TEST, "test")):
        for a, b in couples(cast, split, 2 * COUPLES[split]):
            number = len(jobs)
            name, other = f"R_FFHQ_{69_000 + number:05d}.png", f"demo_{number:05d}.png"
            shots = (
                Shot(root / "ffhq" / folder / name, "real", (a,), crop=CROP_DFFD),
                Shot(
                    root / "faceapp" / folder / other,
                    "retouch",
                    (a,),
                    mask=root / "faceapp" / f"{folder}_mask" / other,
                    crop=CROP_DFFD,
                ),
                Shot(root / "stylegan_ffhq" / folder / other, "morph", (a, b), crop=CROP_DFFD),
            )
            jobs.append(scene(f"dffd/{number}", *shots, size=(512, 512)))
    return Tree(tuple(jobs))
