"""FaceForensics++ with DeepFakeDetection (Rössler et al., ICCV 2019; github.com/ondyari/FaceForensics).

A fake `A_B` keeps the body and background of clip A (its original is `youtube/A`); B gives the
face (swaps) or the expression (reenactments). Fakes of one pair never cross a split.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import ClassVar

from mmidd.errors import UsageError
from mmidd.ingest.base import Expected, Item, Reader, ReadOptions, SourceInfo, Unlisted
from mmidd.ingest.ffclips import ASK, CLIP, FFClips
from mmidd.ingest.splits import derived_split, groups
from mmidd.ingest.tree import ClipFile, child, clip_files, clip_name, clips, level, subfolders
from mmidd.schema import ForgeryType, Label, Split

TYPES = {
    "youtube": ForgeryType.REAL,
    "actors": ForgeryType.REAL,
    "Deepfakes": ForgeryType.FS,
    "Face2Face": ForgeryType.FR,
    "FaceSwap": ForgeryType.FS,
    "NeuralTextures": ForgeryType.FR,
    "FaceShifter": ForgeryType.FS,
    "DeepFakeDetection": ForgeryType.FS,
}
DFD = frozenset({"actors", "DeepFakeDetection"})
COMPRESSIONS = {"raw": "raw", "c0": "raw", "c23": "c23", "c40": "c40"}
_ACTOR = re.compile(r"(\d\d)__(.+)")
_DFD = re.compile(r"(\d\d)_(\d\d)__(.+)__([A-Z0-9]{8})")


@dataclass(frozen=True)
class ClipFolder:
    """Where the media of one method and compression lie."""

    method: str
    compression: str
    path: Path
    masks: Path | None


class FaceForensics(Reader):
    """All clips of FaceForensics++ and DeepFakeDetection below a root."""

    info = SourceInfo(
        key="ff++",
        aliases=("ffpp", "faceforensics", "faceforensics++"),
        title="FaceForensics++ with DeepFakeDetection",
        role="train",
        media="mp4 video",
        types="REAL FS FR",
        size="1,000 real + 5 x 1,000 fake clips, DFD 363 + 3,068; raw ~500 GB, c23 ~10 GB, c40 ~2 GB",
        layout=(
            "original_sequences/{youtube,actors}/{raw,c23,c40}/videos/000.mp4 and "
            "manipulated_sequences/METHOD/{raw,c23,c40}/videos/000_003.mp4",
            "manipulated_sequences/METHOD/masks/videos/000_003.mp4",
            "splits/{train,val,test}.json",
            "conversion_dict.json",
        ),
        annotations="splits/{train,val,test}.json (pairs), conversion_dict.json (clip -> YouTube id)",
        split_rule="a clip is in the split whose pairs name it, 720/140/140; DFD has no official split",
        label_rule="original_sequences is real; Deepfakes, FaceSwap, FaceShifter, DeepFakeDetection FS; "
        "Face2Face, NeuralTextures FR",
        licence="FaceForensics Terms of Use",
        obtain="form on the FaceForensics project page; split lists: dataset/splits of its repository",
        gotchas=(
            "A_B keeps clip A's body and background: its original is A; B gives face or expression",
            "1,000 clips come from 977 YouTube videos: identities are YouTube ids where known",
            "originals and FaceShifter have no masks; some masks are shorter than their video",
            "the label FF-FS of DeepfakeBench means the method FaceSwap, not the type",
        ),
    )

    methods: ClassVar[frozenset[str]] = frozenset(TYPES)

    def __init__(self, root: Path, options: ReadOptions) -> None:
        super().__init__(root, options)
        unknown = [c for c in options.compressions if c not in COMPRESSIONS]
        if unknown:
            raise UsageError(f"--compression {unknown[0]} is unknown; ff++ has raw, c23 and c40")
        self._wanted = {COMPRESSIONS[c] for c in options.compressions} or set(COMPRESSIONS.values())
        if not self._folders:
            raise UsageError(f"{self.root} holds no videos of compression {', '.join(sorted(self._wanted))}")
        if not (self._clips.pairs or options.derive_splits) and any(
            f.method not in DFD for f in self._folders
        ):
            raise UsageError(f"no splits/train.json, val.json, test.json under {self.root}; {ASK}")

    @classmethod
    def matches(cls, folder: Path) -> bool:
        """The official tree, or the flat tree of the Kaggle mirrors."""
        official = child(folder, "original_sequences") or child(folder, "manipulated_sequences")
        return bool(official) or _is_flat(folder)

    @cached_property
    def _folders(self) -> list[ClipFolder]:
        found = _flat_folders(self.root) if _is_flat(self.root) else list(_official_folders(self.root))
        return [f for f in found if f.compression in self._wanted and f.method in self.methods]

    @cached_property
    def _clips(self) -> FFClips:
        return FFClips(self.root, self.options.annotations)

    @cached_property
    def _splits(self) -> dict[str, Split]:
        """Derived splits by identity, of whole groups of people who meet in a fake."""
        links = []
        for folder in self._folders:
            names = (CLIP.fullmatch(clip_name(clip)) for clip in clips(folder.path))
            links += [self._clips.people(*match.groups()) for match in names if match]
        return {name: derived_split(group, self.options.seed) for name, group in groups(links).items()}

    def items(self) -> Iterator[Item | Unlisted]:
        """Every clip, method by method in the order of the paper."""
        for folder in self._folders:
            yield from self._folder_items(folder)

    def _folder_items(self, folder: ClipFolder) -> Iterator[Item | Unlisted]:
        for clip in islice(clips(folder.path), self.options.limit_videos):
            for file in clip_files(clip):
                yield self._item(folder, clip_name(clip), file)

    def _item(self, folder: ClipFolder, stem: str, file: ClipFile) -> Item | Unlisted:
        path = file.path.relative_to(self.root).as_posix()
        names = _dfd_names if folder.method in DFD else _clip_names
        parsed = names(folder.method, stem)
        if parsed is None:
            return Unlisted(path, f"{stem} is not a clip name of {folder.method}")
        target, donor, people = parsed
        real = "actors" if folder.method in DFD else "youtube"
        is_real = TYPES[folder.method] is ForgeryType.REAL
        split, origin = self._split_of(folder.method, people)
        mask = folder.masks / f"{stem}.mp4" if folder.masks else None
        return Item(
            path=path,
            media=file.media,
            label=Label.REAL if is_real else Label.FAKE,
            type=TYPES[folder.method],
            method=folder.method,
            compression=folder.compression,
            video_id=self._video(folder.method, folder.compression, stem),
            pair_id=self._video(real, folder.compression, target),
            pair_confidence=None if is_real else "declared",
            target_video=None if is_real else self._video(real, folder.compression, target),
            donor_video=None if donor is None else self._video(real, folder.compression, donor),
            identity_ids=self._people(folder.method, people),
            overlap_ids=tuple(f"ff++/{_actor(folder.method)}{person}" for person in people),
            split=split,
            split_origin=origin,
            label_note=None if origin != "unlisted" else "clip is in no official split list",
            licence=self.info.licence,
            frame_index=file.frame,
            mask=mask.relative_to(self.root).as_posix() if mask and mask.is_file() else None,
        )

    def _video(self, method: str, compression: str, stem: str) -> str:
        return f"{self.info.key}/{method}/{compression}/{stem}"

    def _people(self, method: str, people: tuple[str, ...]) -> tuple[str, ...]:
        if method in DFD:
            return tuple(f"{self.info.key}/actor{person}" for person in people)
        return self._clips.people(*people)

    def _split_of(self, method: str, people: tuple[str, ...]) -> tuple[Split, str]:
        if method in DFD:
            return Split.NONE, "none"
        if self._clips.pairs:
            split = self._clips.split(people)
            return split, "unlisted" if split is Split.NONE else "official"
        return self._splits[self._clips.people(people[0])[0]], "derived"

    def expected(self) -> Iterator[Expected]:
        """Both fakes of every pair, and its two originals, per compression found; nothing for DFD."""
        methods = [m for m in TYPES if m in self.methods - DFD]
        for compression in sorted({f.compression for f in self._folders}):
            for method in methods:
                for split, pairs in self._clips.pairs.items():
                    for name in _expected_names(method, pairs):
                        yield Expected(method, split, compression, name)


def _expected_names(method: str, pairs: list[tuple[str, str]]) -> list[str]:
    if method == "youtube":
        return sorted({clip for pair in pairs for clip in pair})
    return [f"{a}_{b}" for pair in pairs for a, b in (pair, pair[::-1])]


def _actor(method: str) -> str:
    return "actor" if method in DFD else ""


def _clip_names(method: str, stem: str) -> tuple[str, str | None, tuple[str, ...]] | None:
    match = CLIP.fullmatch(stem)
    if match is None or (match[2] is None) != (method == "youtube"):
        return None
    return match[1], match[2], (match[1],) if match[2] is None else (match[1], match[2])


def _dfd_names(method: str, stem: str) -> tuple[str, str | None, tuple[str, ...]] | None:
    if method == "actors":
        actor = _ACTOR.fullmatch(stem)
        return (stem, None, (actor[1],)) if actor else None
    match = _DFD.fullmatch(stem)
    if match is None:
        return None
    return f"{match[1]}__{match[3]}", f"{match[2]}__{match[3]}", (match[1], match[2])


def _official_folders(root: Path) -> Iterator[ClipFolder]:
    for method, kind in TYPES.items():
        group = child(root, "original_sequences" if kind is ForgeryType.REAL else "manipulated_sequences")
        base = child(group, method) if group else None
        for folder in subfolders(base) if base else []:
            compression = COMPRESSIONS.get(folder.name.lower())
            if compression and base:
                yield ClipFolder(method, compression, level(folder, "videos", "frames"), _masks(base))


def _masks(base: Path) -> Path | None:
    masks = child(base, "masks")
    return (child(masks, "videos") or masks) if masks else None


def _is_flat(folder: Path) -> bool:
    return bool(child(folder, "original")) and any(
        child(folder, m) for m in ("Deepfakes", "Face2Face", "FaceSwap")
    )


def _flat_folders(root: Path) -> list[ClipFolder]:
    quality = next((c for c in COMPRESSIONS if root.name.lower().endswith(c)), "c23")
    names = {"youtube": "original", **{m: m for m in TYPES if m not in {"youtube", "actors"}}}
    found = {method: child(root, name) for method, name in names.items()}
    return [ClipFolder(method, COMPRESSIONS[quality], path, None) for method, path in found.items() if path]
