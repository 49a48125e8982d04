"""GenImage (Zhu et al., NeurIPS 2023; github.com/GenImage-Dataset/GenImage): eight generators."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path

from mmidd.errors import UsageError
from mmidd.ingest.base import SEARCH_DEPTH, Expected, Item, Reader, ReadOptions, SourceInfo, Unlisted
from mmidd.ingest.tree import IMAGE_SUFFIXES, folders, media_files, subfolders
from mmidd.schema import ForgeryType, Label, Media, Split

_STABLE = r"(?:sd|stable[-_ ]?diffusion)[-_ ]?v?[-_ ]?(?:1[-_. ]?)?"
_GENERATORS = {
    name: re.compile(rf"(?<![a-z]){pattern}(?![a-z\d])")
    for name, pattern in {
        "ADM": "adm",
        "BigGAN": "biggan",
        "glide": "glide",
        "Midjourney": "midjourney",
        "SDv1.4": f"{_STABLE}4",
        "SDv1.5": f"{_STABLE}5",
        "VQDM": "vqdm",
        "wukong": "wukong",
    }.items()
}
_SPLITS = {"train": Split.TRAIN, "val": Split.TEST, "test": Split.TEST}
_KINDS = ("ai", "nature")
_FOLDERS = {"ai": "ai", "nature": "nature", "1_fake": "ai", "0_real": "nature"}
_RENAMED = ("0_real", "1_fake")
_IMAGENET = re.compile(r"ILSVRC2012_.+|n\d{8}_\d+")
_UNKNOWN = "unknown"


@dataclass(frozen=True)
class _Place:
    """A folder of images and what the folders above it say.

    Attributes:
        kind: ai or nature; `here` or `below` for images in or below a folder that is neither.
        generator: its name in GenImage, or None.
        split: train, val or test, or None.
        unit: the generator's folder below the root, for video ids of an unknown generator.
    """

    folder: Path
    kind: str = "here"
    generator: str | None = None
    split: str | None = None
    unit: str = _UNKNOWN

    @property
    def is_set(self) -> bool:
        """Whether this is a folder of GenImage: its names are its own, or the generator is."""
        is_renamed = self.folder.name.lower() in _RENAMED
        return self.kind in _KINDS and bool(self.generator or (self.split and not is_renamed))

    @property
    def key(self) -> tuple[str, str, str]:
        """Sort key; places with one key hold parts or copies of one set."""
        return self.generator or self.unit, self.split or "", self.kind

    @property
    def method(self) -> str:
        """Method of its images."""
        return "nature" if self.kind == "nature" else self.generator or _UNKNOWN

    @property
    def note(self) -> str | None:
        """What is not certain about its images."""
        notes = {
            "whole image of ImageNet content, no face": self.kind == "ai",
            "no known generator in folder or file names": self.generator is None,
            "folders renamed by a copy of GenImage": self.folder.name.lower() in _RENAMED,
            "no folder train or val": self.split is None,
            "folder test taken for val": self.split == "test",
        }
        return "; ".join(note for note, applies in notes.items() if applies) or None


class GenImage(Reader):
    """All images of GenImage, or of one of its generators, below a root."""

    info = SourceInfo(
        key="genimage",
        aliases=("gen-image",),
        title="GenImage",
        role="eval",
        media="png or jpg image",
        types="REAL EFS",
        size="1,350,000 fake, 1,331,167 real images",
        layout=(
            "<generator>/{train,val}/{ai,nature}/*.png|*.JPEG",
            "<generator>: imagenet_ai_0419_biggan, ... as unzipped, or ADM, BigGAN, glide, Midjourney, "
            "stable_diffusion_v_1_4, stable_diffusion_v_1_5, VQDM, wukong",
            "copies (AIGCDetect): <generator>/[{train,val}/]{0_real,1_fake}",
        ),
        annotations="none",
        split_rule="folder: train is train, val is test; there is no validation part",
        label_rule="folder: nature (0_real) real, ai (1_fake) EFS in the loose sense",
        licence="CC BY-NC-SA 4.0 with extra terms",
        obtain="GenImage on GitHub; join the split zips of a generator before unzipping",
        gotchas=(
            "whole images without faces: no face is looked for, the bytes stay untouched",
            "val is the test part",
            "ai is PNG, nature JPEG, of other sizes: re-encode before training",
            "three empty files in SDv1.4: train/ai/033_sdv4_00134, 00137 and 00152.png",
            "the Baidu copy has corrupted files",
        ),
    )

    def __init__(self, root: Path, options: ReadOptions) -> None:
        super().__init__(root, options)
        if options.compressions:
            raise UsageError("genimage has one quality only; leave --compression out")

    @classmethod
    def matches(cls, folder: Path) -> bool:
        """Folders train or val with ai or nature, or a known generator's folders of any copy."""
        return any(place.is_set for place in _places(_start(folder)))

    def items(self) -> Iterator[Item | Unlisted]:
        """Every image, by generator, split and kind."""
        places = sorted(_named(_places(_start(self.root))), key=lambda place: (place.key, place.folder))
        counts: Counter[str] = Counter()
        for _, group in groupby(places, key=lambda place: place.key):
            seen: set[str] = set()
            for place in group:
                yield from self._images(place, seen, counts) if place.is_set else self._strays(place)

    def _images(self, place: _Place, seen: set[str], counts: Counter[str]) -> Iterator[Item | Unlisted]:
        """The images of a set until its method has enough; `seen` are the video ids of its key."""
        limit = self.options.limit_videos
        for path in _files(place.folder, 1):
            if limit is not None and counts[place.method] >= limit:
                return
            item = self._item(place, path)
            if item.video_id in seen:
                yield Unlisted(item.path, f"a second file of {item.video_id}")
                continue
            seen.add(item.video_id)
            counts[place.method] += 1
            yield item

    def _strays(self, place: _Place) -> Iterator[Unlisted]:
        for path in _files(place.folder, 0 if place.kind == "here" else SEARCH_DEPTH):
            relative = path.relative_to(self.root).as_posix()
            yield Unlisted(relative, "not below ai or nature of a generator of GenImage")

    def _item(self, place: _Place, path: Path) -> Item:
        fake = place.kind == "ai"
        inside = path.relative_to(place.folder).with_suffix("").parts
        inner = [part for part in inside if part.lower() != place.folder.name.lower()]
        video = "/".join(("genimage", *filter(None, place.key), *inner))
        return Item(
            path=path.relative_to(self.root).as_posix(),
            media=Media.PRECROPPED,
            label=Label.FAKE if fake else Label.REAL,
            type=ForgeryType.EFS if fake else ForgeryType.REAL,
            method=place.method,
            video_id=video,
            pair_id=video,
            split=_SPLITS[place.split] if place.split else Split.NONE,
            split_origin="official" if place.split else "unlisted",
            overlap_ids=(f"imagenet/{path.stem}",) if not fake and _IMAGENET.fullmatch(path.stem) else (),
            label_note=place.note,
            licence=self.info.licence,
        )

    def expected(self) -> Iterator[Expected]:
        """Nothing: no list names the images."""
        return iter(())


def _generator(name: str) -> str | None:
    """The generator of a folder or file name, or None."""
    return next((key for key, pattern in _GENERATORS.items() if pattern.search(name.lower())), None)


def _start(root: Path) -> _Place:
    """What the root's own name says; below a split's folder its parent names the generator."""
    folder = root.absolute()
    name = folder.name.lower()
    split = name if name in _SPLITS else None
    return _Place(root, "here", _generator(folder.parent.name if split else name), split)


def _places(place: _Place) -> Iterator[_Place]:
    """The folders of images below a place; unknown names are entered only if they hold train or val."""
    yield place
    for folder in subfolders(place.folder):
        name = folder.name.lower()
        if name in _FOLDERS:
            yield replace(place, folder=folder, kind=_FOLDERS[name])
        elif name in _SPLITS:
            yield from _places(replace(place, folder=folder, split=name))
        elif generator := _generator(name):
            yield from _places(replace(place, folder=folder, generator=generator))
        elif place.generator is None and place.unit == _UNKNOWN and _has_split(folder):
            yield from _places(replace(place, folder=folder, unit=folder.name))
        else:
            yield _Place(folder, "below")


def _has_split(folder: Path) -> bool:
    return any(inner.name.lower() in _SPLITS for inner in subfolders(folder))


def _named(places: Iterator[_Place]) -> list[_Place]:
    """The places; where folders do not say it, file names of `ai` say which generator made them."""
    found = list(places)
    said: dict[str, str | None] = {}
    for place in found:
        if place.generator is None and place.kind == "ai" and not said.get(place.unit):
            first = min((path.name for path in place.folder.iterdir()), default="")
            said[place.unit] = _generator(first)
    return [replace(place, generator=place.generator or said.get(place.unit)) for place in found]


def _files(folder: Path, depth: int) -> Iterator[Path]:
    for inner in folders(folder, depth):
        yield from media_files(inner, IMAGE_SUFFIXES)
