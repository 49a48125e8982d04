"""Small trees of the evaluation sets."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from mmidd.demo.cast import Cast
from mmidd.demo.ffpp import Pairs
from mmidd.demo.jobs import Job, Shot
from mmidd.demo.portraits import Portrait
from mmidd.demo.trees.fakes import CROP_DF40
from mmidd.demo.trees.tree import COUPLES, Tree, as_json, as_lines, couples, scene
from mmidd.schema import Split

CROP_WILD = (224, 224)
_FF_REALS = "ff++/original_sequences/youtube/c23/videos"


def celebdf(cast: Cast, version: int) -> Tree:
    """Couples of celebrities both ways, a YouTube clip each, and the test list: flag 1 is real."""
    root = Path(f"celebdf-v{version}")
    jobs: list[Job] = []
    listed = []
    people = count()
    for split in (Split.TEST, Split.TRAIN):
        for couple in couples(cast, split, 2 if split is Split.TEST else 1):
            names = f"id{next(people)}", f"id{next(people)}"
            for (a, b), pair in zip((names, names[::-1]), (couple, couple[::-1]), strict=True):
                real, fake = f"Celeb-real/{a}_0000.mp4", f"Celeb-synthesis/{a}_{b}_0000.mp4"
                listed += [f"1 {real}", f"0 {fake}"] if split is Split.TEST else []
                shots = Shot(root / real, "real", pair[:1]), Shot(root / fake, "FaceShifter", pair)
                jobs.append(scene((root / real).as_posix(), *shots))
    path = root / "YouTube-real/00170.mp4"
    jobs.append(scene(path.as_posix(), Shot(path, "real", tuple(cast.deal(Split.TEST, 1)))))
    listed.append("1 YouTube-real/00170.mp4")
    return Tree(tuple(jobs), {root / "List_of_testing_videos.txt": as_lines(listed)})


def dfd(cast: Cast) -> Tree:
    """Actors in one scene each, their swaps with masks."""
    root = Path("dfd")
    jobs: list[Job] = []
    actors = count(1)
    for couple in couples(cast, Split.TEST, 2):
        names = f"{next(actors):02d}", f"{next(actors):02d}"
        for (a, b), pair in zip((names, names[::-1]), (couple, couple[::-1]), strict=True):
            real = root / "original_sequences/actors/c23/videos" / f"{a}__exit_phone_room.mp4"
            folder = root / "manipulated_sequences/DeepFakeDetection"
            fake = f"{a}_{b}__exit_phone_room__DEMO{len(jobs):04d}.mp4"
            swap = Shot(folder / "c23/videos" / fake, "Deepfakes", pair, mask=folder / "masks/videos" / fake)
            jobs.append(scene(real.as_posix(), Shot(real, "real", pair[:1]), swap))
    return Tree(tuple(jobs))


def dfdc(cast: Cast) -> Tree:
    """One training part with originals, validation and test with labels."""
    root = Path("dfdc")
    jobs: list[Job] = []
    files: dict[Path, bytes] = {}
    folders = {Split.TRAIN: "dfdc_train_part_0", Split.VAL: "validation", Split.TEST: "test"}
    for split, folder in folders.items():
        table: dict[str, dict[str, str]] = {}
        for number, pair in enumerate(couples(cast, split, 2 * COUPLES[split])):
            real, fake = (f"{name}{split.value}{number:04d}.mp4" for name in ("re", "fa"))
            table[real] = {"label": "REAL", "split": "train"}
            table[fake] = {"label": "FAKE", "split": "train", "original": real}
            shots = (
                Shot(root / folder / real, "real", pair[:1]),
                Shot(root / folder / fake, "FaceSwap", pair),
            )
            jobs.append(scene(f"dfdc/{folder}/{number}", *shots))
        if split is Split.TRAIN:
            files[root / folder / "metadata.json"] = as_json(table)
        else:
            rows = (f"{name},{int(row['label'] == 'FAKE')}" for name, row in table.items())
            files[root / folder / "labels.csv"] = as_lines(("filename,label", *rows))
    return Tree(tuple(jobs), files)


def uadfv(cast: Cast) -> Tree:
    """Numbered clips, real and fake."""
    root = Path("uadfv/UADFV")
    jobs = []
    for number, pair in enumerate(couples(cast, Split.TEST, 3)):
        real, fake = root / "real" / f"{number:04d}.mp4", root / "fake" / f"{number:04d}_fake.mp4"
        shots = Shot(real, "real", pair[:1]), Shot(fake, "Deepfakes", pair)
        jobs.append(scene(real.as_posix(), *shots))
    return Tree(tuple(jobs))


def wilddeepfake(cast: Cast) -> Tree:
    """Tar files with one sequence of crops each."""
    root = Path("wilddeepfake/deepfake_in_the_wild")
    jobs = []
    packed = {}
    for split in (Split.TRAIN, Split.TEST):
        for number, pair in enumerate(couples(cast, split, 2), 1):
            for label, made, people in (("real", "real", pair[:1]), ("fake", "FaceSwap", pair)):
                video = root / f"{label}_{split.value}" / str(number)
                shot = Shot(video / label / "131", made, people, crop=CROP_WILD, frames="{:d}.png")
                jobs.append(scene(video.as_posix(), shot))
                packed[video] = video.with_name(f"{number}.tar.gz")
    return Tree(tuple(jobs), packed=packed)


def df40_test(cast: Cast, pairs: Pairs) -> Tree:
    """Clips of both domains, and three of the methods that bring their own reals."""
    root = Path("df40-test/DF40")
    jobs = []
    for a, b in pairs[Split.TEST][:2]:
        people = a.person, b.person
        shots = [_frames(root / "simswap/ff/frames" / f"{a.name}_{b.name}", "Deepfakes", people)]
        shots.append(_frames(root / "fomm/ff/frames" / f"{a.name}_{b.name}", "Face2Face", people))
        shots.append(Shot(root / "ddim/ff" / a.name / "11287.png", "morph", people, crop=CROP_DF40))
        shots.append(Shot(root / "e4e/e4e/ff" / a.name / "00001.jpg", "retouch", people[:1], crop=CROP_DF40))
        jobs.append(scene(f"{_FF_REALS}/{a.name}.mp4", *shots))
    for number, pair in enumerate(couples(cast, Split.TEST, 2)):
        jobs.append(_own(root / "whichfaceisreal/whichfaceisreal", number, "morph", pair))
        jobs.append(_own(root / "stargan", number, "retouch", pair[:1]))
        video = root / "deepfacelab"
        shots = [
            _frames(video / "real/frames" / f"{number:04d}", "real", pair[:1]),
            _frames(video / "fake/frames" / f"{number:04d}_fake", "Deepfakes", pair),
        ]
        jobs.append(scene(f"{video}/{number}", *shots))
    return Tree(tuple(jobs))


def _frames(path: Path, made: str, people: tuple[Portrait, ...]) -> Shot:
    return Shot(path, made, people, crop=CROP_DF40, frames="{:03d}.png")


def _own(folder: Path, number: int, made: str, people: tuple[Portrait, ...]) -> Job:
    real = Shot(folder / "real" / f"r{number}.png", "real", people[:1], crop=CROP_DF40)
    fake = Shot(folder / "fake" / f"f{number}.png", made, people, crop=CROP_DF40)
    return scene(f"{folder}/{number}", real, fake)


def genimage() -> Tree:
    """Scenery without people: photos as JPEG, renderings as PNG, one generator."""
    root = Path("genimage/stable_diffusion_v_1_4")
    jobs = []
    for folder, images, photo in (("train", 4, "n01440764_{}"), ("val", 6, "ILSVRC2012_val_{:08d}")):
        for number in range(images):
            paths = {
                root / folder / "nature" / f"{photo.format(number)}.JPEG": "scenery",
                root / folder / "ai" / f"000_sdv4_{number:05d}.png": "rendering",
            }
            jobs += [
                scene(path.as_posix(), Shot(path, made, ()), size=(512, 512)) for path, made in paths.items()
            ]
    return Tree(tuple(jobs))
