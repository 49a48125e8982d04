"""Fabricated raw trees of KoDF: AI-Hub's archives and DeepBrain's folders."""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Literal

from tests.ingest.trees import put

Form = Literal["NFC", "NFD"]
HEADER = "영상ID,변조모델,타겟영상,소스UUID,타겟UUID,인물성별"
REALS = {"Training": ("r1", "r2"), "Validation": ("r3",)}
FAKES = {
    "Training": {"f1": ("dffs", "r1"), "f2": ("audio-driven", "r2"), "f3": ("dfl", "r1"), "f4": ("fo", "r2")},
    "Validation": {"f5": ("fsgan", "r3"), "f6": ("audio_driven", "r3")},
}


def kodf(root: Path, *, form: Form = "NFC", encoding: str = "utf-8-sig") -> Path:
    """AI-Hub's tree below a Korean folder, with names and csv text in a Unicode form."""

    def add(path: str, data: str | None = None) -> None:
        place = root / unicodedata.normalize(form, f"딥페이크 변조 영상/{path}")
        put(place, *([] if data is None else [unicodedata.normalize(form, data).encode(encoding)]))

    for part in ("1.Training", "2.Validation"):
        split = part[2:].lower()
        reals, fakes = REALS[part[2:]], FAKES[part[2:]]
        for stem in reals:
            add(f"{part}/[원천][원본]원본1/{stem}_영상.mp4")
        for stem, (model, _) in fakes.items():
            add(f"{part}/[원천][변조]train_{model}1_data/deep/{stem}.MP4")
        labels = f"{part}/[라벨링]{split}_meta/{split}_meta_data"
        lines = [f"u{stem},{stem}_영상.mp4,M" for stem in reals]
        add(f"{labels}/원본영상_{split}_메타데이터.csv", "\n".join(["UUID,영상ID,인물성별", *lines]))
        lines = [f"{k}.mp4,{model},{to}_영상.mp4,s{k},u{to},F" for k, (model, to) in fakes.items()]
        add(f"{labels}/변조영상_{split}_메타데이터.csv", "\n".join([HEADER, *lines]))
    return root


def deepbrain(root: Path) -> Path:
    """One folder per model and no metadata."""
    for folder in ("real", "fake-audio-driven", "fake-dffs", "fake_dfl1", "fake-fo", "fake-fsgan"):
        put(root / folder / "videos/a.mp4")
        put(root / folder / "sub/a.mp4")
    put(root / "fake-adv/a.mp4")
    put(root / "real-adv/a.mp4")
    return root


TREES = {"kodf": kodf}
