"""Small trees of the DFDC preview, KoDF, DeepfakeTIMIT and CelebV-HQ."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from itertools import count, product
from pathlib import Path
from string import ascii_lowercase
from typing import Literal

from mmidd.demo.cast import Cast
from mmidd.demo.jobs import Job, Shot
from mmidd.demo.trees.tree import COUPLES, Couple, Tree, as_json, as_lines, couples, name_in, scene
from mmidd.ingest.splits import TRAIN_VAL
from mmidd.schema import Split

_PREVIEW_METHODS = {"method_A": "Deepfakes", "method_B": "FaceSwap"}
_KODF_MODELS = {
    "dffs": "FaceSwap",
    "dfl": "Deepfakes",
    "fsgan": "FaceShifter",
    "fo": "Face2Face",
    "audio-driven": "NeuralTextures",
}


def dfdcp(cast: Cast) -> Tree:
    """Couples of actors, each with both methods, and `dataset.json`."""
    root = Path("dfdcp/dfdc_preview_set")
    numbers = map(str, count(640_001))
    jobs: list[Job] = []
    table: dict[str, dict[str, object]] = {}
    for split in COUPLES:
        for people in couples(cast, split):
            names = [
                next(numbers)
                if split is Split.TEST
                else name_in(split, numbers, lambda name: f"dfdcp/{name}", TRAIN_VAL)
                for _ in people
            ]
            for (target, donor), pair in zip((names, names[::-1]), (people, people[::-1]), strict=True):
                jobs.append(_preview_job(root, target, donor, pair, table, split))
    return Tree(tuple(jobs), {root / "dataset.json": as_json(table)})


def _preview_job(
    root: Path, target: str, donor: str, people: Couple, table: dict[str, dict[str, object]], split: Split
) -> Job:
    subset = "test" if split is Split.TEST else "train"
    row: dict[str, object] = {"set": subset, "augmentations": [], "target_id": target}
    real = f"original_videos/{target}/{target}_A_001.mp4"
    table[real] = {"label": "real", **row, "swapped_id": None}
    shots = [Shot(root / real, "real", people[:1])]
    for method, made in _PREVIEW_METHODS.items():
        path = f"{method}/{target}/{target}_A/{donor}_{target}_A_001.mp4"
        table[path] = {"label": "fake", **row, "swapped_id": donor}
        shots.append(Shot(root / path, made, people))
    return scene((root / real).as_posix(), *shots)


def kodf(cast: Cast) -> Tree:
    """AI-Hub's archives: Korean names, composed in training and decomposed in validation, brackets, csv."""
    train, val = couples(cast, Split.TRAIN), couples(cast, Split.VAL)
    parts = [_kodf_part("1.Training", "NFC", train), _kodf_part("2.Validation", "NFD", val)]
    files = {path: data for part in parts for path, data in part.files.items()}
    return Tree(tuple(job for part in parts for job in part.jobs), files)


def _kodf_part(name: str, form: Literal["NFC", "NFD"], people: list[Couple]) -> Tree:
    def place(path: str) -> Path:
        return Path("kodf", unicodedata.normalize(form, f"딥페이크 변조 영상/{name}/{path}"))

    word = name[2:].lower()
    jobs: list[Job] = []
    reals = ["영상ID,UUID,인물성별"]
    fakes = ["영상ID,변조모델,타겟영상,소스UUID,타겟UUID,인물성별"]
    for number, pair in enumerate(pair for couple in people for pair in (couple, couple[::-1])):
        stem, own, other = f"200701_{word}_{number}", pair[0].identity, pair[1].identity
        reals.append(f"{stem}.mp4,{own},F")
        shots = [Shot(place(f"[원천][원본]원본1/{stem}.mp4"), "real", pair[:1])]
        for model, made in _KODF_MODELS.items():
            fake = f"200715_{word}_{model}_{number}"
            fakes.append(f"{fake}.mp4,{model},{stem}.mp4,{other},{own},F")
            shots.append(Shot(place(f"[원천][변조]{word}_{model}1_data/{fake}.mp4"), made, pair))
        jobs.append(scene(f"kodf/{stem}", *shots))
    meta = f"[라벨링]{word}_meta/{word}_meta_data"
    tables = {"원본영상": reals, "변조영상": fakes}
    files = {
        place(f"{meta}/{kind}_{word}_메타데이터.csv"): b"\xef\xbb\xbf" + as_lines(rows)
        for kind, rows in tables.items()
    }
    return Tree(tuple(jobs), files)


def timit(cast: Cast) -> Tree:
    """Partners in both qualities, and VidTIMIT's JPEG frames without suffix."""
    root = Path("timit")
    subjects: Iterator[str] = ("f" + "".join(letters) + "0" for letters in product(ascii_lowercase, repeat=3))
    jobs = []
    for split in COUPLES:
        for people in couples(cast, split):
            first = name_in(split, subjects, lambda name: f"timit/{name}")
            names = (first, next(subjects))
            for (own, donor), pair in zip((names, names[::-1]), (people, people[::-1]), strict=True):
                jobs += [_timit_job(root, own, donor, pair, utterance) for utterance in ("sa1", "si1279")]
    return Tree(tuple(jobs))


def _timit_job(root: Path, own: str, donor: str, people: Couple, utterance: str) -> Job:
    real = root / "VidTIMIT" / own / "video" / utterance
    shots = [Shot(real, "real", people[:1], frames="{:03d}")]
    for quality, made in (("higher_quality", "Deepfakes"), ("lower_quality", "FaceSwap")):
        path = root / "DeepfakeTIMIT" / quality / own / f"{utterance}-video-{donor}.avi"
        shots.append(Shot(path, made, people))
    return scene(real.as_posix(), *shots, size=(512, 384))


def celebvhq(cast: Cast) -> Tree:
    """Two clips of every YouTube video, and the JSON; one id begins with a dash."""
    root = Path("celebv-hq")
    ids = (f"-demo{number:06d}" if number % 2 else f"de_mo{number:06d}" for number in count())
    jobs: list[Job] = []
    clips: dict[str, dict[str, object]] = {}
    for split in COUPLES:
        for person in cast.deal(split, 2 * COUPLES[split]):
            video = name_in(split, ids, lambda name: f"youtube/{name}")
            for number in range(2):
                clip = f"{video}_{number}"
                clips[clip] = {
                    "ytb_id": video,
                    "duration": {"start_sec": float(number), "end_sec": number + 1.0},
                    "bbox": {"top": 0.0, "bottom": 1.0, "left": 0.0, "right": 1.0},
                    "attributes": {},
                    "version": "demo",
                }
                path = root / "downloaded_celebvhq/processed" / f"{clip}.mp4"
                jobs.append(scene(path.as_posix(), Shot(path, "real", (person,)), size=(512, 512)))
    info = {"meta_info": {"appearance_mapping": [], "action_mapping": []}, "clips": clips}
    return Tree(tuple(jobs), {root / "celebvhq_info.json": as_json(info)})
