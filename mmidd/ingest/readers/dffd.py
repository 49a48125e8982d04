"""Diverse Fake Face Dataset (Dang et al., CVPR 2020): aligned 299 px crops, sorted by part and split."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from mmidd.errors import UsageError
from mmidd.ingest.base import Expected, Item, Reader, ReadOptions, SourceInfo, Unlisted
from mmidd.ingest.limit import Limit
from mmidd.ingest.tree import IMAGE_SUFFIXES, VIDEO_SUFFIXES, child, media_files, subfolders
from mmidd.schema import ForgeryType, Label, Media, Split

_REAL = ForgeryType.REAL
PARTS = {
    "ffhq": _REAL,
    "celeba": _REAL,
    "youtube": _REAL,
    "faceapp": ForgeryType.FE,
    "stargan": ForgeryType.FE,
    "pggan_v1": ForgeryType.EFS,
    "pggan_v2": ForgeryType.EFS,
    "stylegan_celeba": ForgeryType.EFS,
    "stylegan_ffhq": ForgeryType.EFS,
    "Deepfakes": ForgeryType.FS,
    "FaceSwap": ForgeryType.FS,
    "DeepFaceLab": ForgeryType.FS,
    "Face2Face": ForgeryType.FR,
}
"""Type by part. The reals but ffhq, and the last four, are not released: users make them again."""

_SPLITS = {
    "train": Split.TRAIN,
    "validation": Split.VAL,
    "val": Split.VAL,
    "test": Split.TEST,
}
_CLIP = re.compile(r"(?<!\d)(\d{3})_(\d{3})(?!\d)")
_FFHQ = re.compile(r"(?:R_)?FFHQ_(\d{5})", re.IGNORECASE)
_CELEBA = re.compile(r"(?:.*\D)?(\d{6})")


@dataclass(frozen=True)
class _Folder:
    """One split of one part, with the masks beside it."""

    part: str
    path: Path
    split: Split
    masks: dict[str, Path]


class DiverseFakeFace(Reader):
    """All crops of DFFD below a root."""

    info = SourceInfo(
        key="dffd",
        aliases=("diverse-fake-face",),
        title="Diverse Fake Face Dataset",
        role="train",
        media="png, faces already cropped to 299x299 px",
        types="REAL FS FR EFS FE",
        size="paper: 58,703 real and 240,336 fake images; the released parts hold fewer",
        layout=(
            "PART/{train,validation,test}/*.png with PART one of ffhq, faceapp, stargan, pggan_v1, "
            "pggan_v2, stylegan_celeba, stylegan_ffhq",
            "PART/{train,validation,test}_mask/<same name>",
            "[celeba*, youtube, Deepfakes, FaceSwap, Face2Face, DeepFaceLab: parts that users made again]",
        ),
        annotations="none; data_lists/*.txt is not needed",
        split_rule="folder: 50% train, 5% validation, 45% test, by identity",
        label_rule="part: ffhq, celeba and youtube real; faceapp, stargan FE; pggan, stylegan EFS; "
        "Deepfakes, FaceSwap, DeepFaceLab FS; Face2Face FR",
        licence="DFFD research use",
        obtain="form on the DFFD page of MSU CVLab",
        gotchas=(
            "CelebA and FaceForensics++ crops are not released; users make them again from their own copies",
            "crops are aligned and final: no margin can be added",
            "the parts reuse FFHQ, CelebA and FaceForensics++: run `mmidd audit`",
            "file names but FFHQ's are not documented: any name is accepted",
        ),
    )

    def __init__(self, root: Path, options: ReadOptions) -> None:
        super().__init__(root, options)
        if options.compressions:
            raise UsageError("dffd has one quality only; leave --compression out")

    @classmethod
    def matches(cls, folder: Path) -> bool:
        """A folder with a part that is split, ffhq or a fake one, since others have parts of such names."""
        released = (name for name in PARTS if name not in {"celeba", "youtube"})
        return any(_splits(path) for name in released if (path := child(folder, name))) and not any(
            folder.name.lower() == name.lower() for name in PARTS
        )

    @cached_property
    def _folders(self) -> list[_Folder]:
        found: dict[str, list[Path]] = {}
        for sub in subfolders(self.root):
            if part := _part(sub.name):
                found[part] = [*found.get(part, []), *_splits(sub)]
        return [
            _Folder(part, path, _SPLITS[path.name.lower()], _masks(path))
            for part in PARTS
            for path in found.get(part, [])
        ]

    def items(self) -> Iterator[Item | Unlisted]:
        """Every crop, part by part; what lies in folders of no part is one entry per folder."""
        limit = Limit(self.options.limit_videos)
        for folder in self._folders:
            images = media_files(folder.path, IMAGE_SUFFIXES)
            yield from (self._item(folder, path) for path in limit.take(folder.part, images))
            for video in media_files(folder.path, VIDEO_SUFFIXES):
                yield Unlisted(self._relative(video), "DFFD holds crops; cut the video into crops first")
        for sub in subfolders(self.root):
            if _part(sub.name) is None and _splits(sub):
                yield Unlisted(self._relative(sub), f"{sub.name} is no part of DFFD")

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _item(self, folder: _Folder, path: Path) -> Item:
        kind = PARTS[folder.part]
        video = f"dffd/{folder.part}/{folder.path.name.lower()}/{path.stem}"
        mask = folder.masks.get(path.stem)
        item = Item(
            path=self._relative(path),
            media=Media.PRECROPPED,
            label=Label.REAL if kind is _REAL else Label.FAKE,
            type=kind,
            method=folder.part,
            video_id=video,
            pair_id=video,
            split=folder.split,
            split_origin="official",
            licence=self.info.licence,
            mask=self._relative(mask) if mask else None,
        )
        if kind is _REAL:
            return _of_material(item, folder.part, path.stem)
        return _of_clips(item, path.stem)

    def expected(self) -> Iterator[Expected]:
        """Nothing: no list is known to be official."""
        return iter(())


def _part(name: str) -> str | None:
    """The part of a folder name, in any case; recreated CelebA may be called celeba_real and so on."""
    known = next((part for part in PARTS if part.lower() == name.lower()), None)
    return known or ("celeba" if name.lower().startswith("celeba") else None)


def _splits(part: Path) -> list[Path]:
    """The split folders of a part, below a doubled folder."""
    inner = child(part, part.name) or part
    return [path for name in _SPLITS if (path := child(inner, name)) and not subfolders(path)]


def _masks(split: Path) -> dict[str, Path]:
    folder = child(split.parent, f"{split.name}_mask")
    return {path.stem: path for path in media_files(folder, IMAGE_SUFFIXES)} if folder else {}


def _of_material(item: Item, part: str, stem: str) -> Item:
    """With the keys of the material that a real crop was cut from, as far as its name tells."""
    if part == "ffhq" and (match := _FFHQ.search(stem)):
        return replace(item, overlap_ids=(f"ffhq/{match[1]}",))
    if part == "celeba" and (match := _CELEBA.fullmatch(stem)):
        return replace(item, overlap_ids=(f"celeba/{match[1]}",))
    if part == "youtube" and (match := re.match(r"\d{3}(?!\d)", stem)):
        return replace(item, overlap_ids=(f"ff++/{match[0]}",), identity_ids=(f"ff++/{match[0]}",))
    return item


def _of_clips(item: Item, stem: str) -> Item:
    """A frame of FaceForensics++'s fake `A_B` is paired with clip A."""
    match = _CLIP.search(stem)
    if item.type not in {ForgeryType.FS, ForgeryType.FR} or match is None:
        return item
    target, donor = (f"ff++/youtube/c23/{clip}" for clip in match.groups())
    keys = tuple(f"ff++/{clip}" for clip in match.groups())
    return replace(
        item,
        pair_id=target,
        target_video=target,
        donor_video=donor,
        pair_confidence="derived",
        identity_ids=keys,
        overlap_ids=keys,
        label_note="clips read from its file name, whose form is not documented",
    )
