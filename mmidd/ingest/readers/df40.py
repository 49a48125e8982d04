"""DF40 (Yan et al., NeurIPS 2024; github.com/YZY-stack/DF40): 40 methods, faces already cropped.

Two archives: the training one forges clips of FaceForensics++ only, the test one also clips of
Celeb-DF v2, and holds nine more methods, most with reals of their own.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import ClassVar

from mmidd.errors import UsageError
from mmidd.ingest.annotations import find_file
from mmidd.ingest.base import Expected, Item, Reader, ReadOptions, SourceInfo, Unlisted, in_derived_split
from mmidd.ingest.df40_methods import Method, method_named
from mmidd.ingest.df40_tree import BESIDE, Clip, archives, clip_media, indexed_names, walk
from mmidd.ingest.ffclips import ASK, CLIP, FFClips
from mmidd.ingest.tree import clip_name, media_files, subfolders
from mmidd.schema import ForgeryType, Label, Media, Split

_CDF = re.compile(r"(id\d+)_(id\d+)_(\d+)")
_LEADING = re.compile(r"(\d{3})(?!\d)")


class DF40(Reader):
    """The training archive of DF40 below a root."""

    info = SourceInfo(
        key="df40",
        aliases=("df40-train",),
        title="DF40, training archive",
        role="train",
        media="png, faces already cropped to 256x256 px",
        types="FS FR EFS FE",
        size="31 methods: 686-720 clips each (FS, FR), about 18,000 images each (EFS); ~50 GB",
        layout=(
            "DF40_train/METHOD/[METHOD/][ff/][frames/]000_003/000.png (FS, FR)",
            "DF40_train/METHOD/001/seed0188.png (EFS)",
            "splits/{train,val,test}.json of FaceForensics++",
            "[dataset_json/METHOD_ff.json]",
        ),
        annotations="splits/{train,val,test}.json and conversion_dict.json of FaceForensics++; "
        "dataset_json/*.json (expected clips; optional)",
        split_rule="that of FaceForensics++ which holds every clip id in the name; other clips have none, "
        "and neither have the nine test-only methods",
        label_rule="all fake; type by method folder: 10 FS, 13 FR, 12 EFS, 5 FE in the whole of DF40",
        licence="CC BY-NC 4.0; FaceForensics++ and Celeb-DF terms for their clips",
        obtain="DF40 project page, one zip per method",
        gotchas=(
            "there are no reals in it: ingest ff++ beside it",
            "clips that FaceForensics++ has not in train are in it: they get their true split or none",
            "names of SadTalker and Wav2Lip clips begin with one clip id; the rest are counters",
            "the authors do not document which clip is the target in FR: pairs there are marked low",
            "EFS folders only mimic clip ids (no pair, no identity), and about 155 of a method are empty",
            "the JSONs call simswap and uniface roop, and DF40_all.json leaks test clips: unused for labels",
            "sd2.1_new and sd_2.1 are two copies of one method: the first is read, the other is named",
        ),
    )
    archive: ClassVar[str] = "train"

    def __init__(self, root: Path, options: ReadOptions) -> None:
        super().__init__(root, options)
        if options.compressions:
            raise UsageError(f"{self.info.key} has one quality only; leave --compression out")
        if self.archive == "train" and not (self._ff.pairs or options.derive_splits):
            raise UsageError(
                f"no train.json, val.json, test.json of FaceForensics++ under {self.root}; {ASK}"
            )

    @classmethod
    def matches(cls, folder: Path) -> bool:
        """A folder of method folders that are laid out as in this archive."""
        return cls.archive in archives(folder)

    @cached_property
    def _ff(self) -> FFClips:
        return FFClips(self.root, self.options.annotations)

    @cached_property
    def _folders(self) -> list[tuple[Method | None, Path]]:
        """Every folder of the archive with its method; None where a method is unknown or comes again."""
        seen: set[Method] = set()
        found: list[tuple[Method | None, Path]] = []
        for folder in subfolders(self.root):
            method = method_named(folder.name)
            found.append((None if method in seen else method, folder))
            seen |= {method} if method else set()
        return found

    def items(self) -> Iterator[Item | Unlisted]:
        """Every clip, method by method; of each at most `limit_videos`."""
        for method, folder in self._folders:
            if method:
                yield from self._method_items(method, folder)
            elif folder.name.lower() not in BESIDE:
                yield Unlisted(self._relative(folder), _why_not(folder.name))
        read = {method for method, _ in self._folders}
        for archive in media_files(self.root, {".zip"}):
            if method_named(archive.stem) not in read:
                yield Unlisted(self._relative(archive), "a zip is not read; unpack it")

    def _method_items(self, method: Method, folder: Path) -> Iterator[Item | Unlisted]:
        found = list(walk(method, folder, "ff" if self.archive == "train" else "own"))
        for real in (False, True):
            clips = (clip for clip in found if isinstance(clip, Clip) and clip.real is real)
            for clip in islice(clips, self.options.limit_videos):
                yield from self._clip_items(clip)
        for entry in found:
            if isinstance(entry, Unlisted):
                yield replace(entry, path=self._relative(Path(entry.path)))

    def _clip_items(self, clip: Clip) -> Iterator[Item]:
        item = self._item(clip)
        for file in clip_media(clip.path):
            yield replace(item, path=self._relative(file.path), media=file.media, frame_index=file.frame)

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _item(self, clip: Clip) -> Item:
        name = clip_name(clip.path)
        kind = "real" if clip.real else "fake" if clip.domain == "own" else clip.domain
        parts = (self.info.key, clip.method.folder, kind, clip.group, name)
        video = "/".join(filter(None, parts))
        item = Item(
            path=name,
            media=Media.PRECROPPED,
            label=Label.REAL if clip.real else Label.FAKE,
            type=ForgeryType.REAL if clip.real else clip.method.type,
            method=clip.column,
            video_id=video,
            pair_id=video,
            licence=self.info.licence,
        )
        if clip.domain == "ff":
            return self._of_ff(item, clip.method, name)
        item = replace(item, split=Split.TEST, split_origin="official")
        return (
            _of_celebdf(item, clip.method, name) if clip.domain == "cdf" else _of_own(item, clip.method, name)
        )

    def _of_ff(self, item: Item, method: Method, name: str) -> Item:
        match = (_LEADING.match if method.leading else CLIP.fullmatch)(name)
        clips = tuple(filter(None, match.groups())) if match else ()
        if clips and method.type is not ForgeryType.EFS:
            item = replace(
                _paired(item, method, [f"ff++/youtube/c23/{clip}" for clip in clips]),
                identity_ids=self._ff.people(*clips),
                overlap_ids=tuple(f"ff++/{clip}" for clip in clips),
            )
        return self._placed(item, method, clips)

    def _placed(self, item: Item, method: Method, clips: tuple[str, ...]) -> Item:
        if self.archive == "train" and not method.known:
            return _unplaced(item, f"{method.name} is a test-only method by the paper")
        if not clips:
            return _unplaced(item, "its name holds no clip id of FaceForensics++, so its split is unknown")
        if self._ff.pairs:
            split = self._ff.split(clips)
            if split is Split.NONE or (self.archive == "test" and split is not Split.TEST):
                return _unplaced(item, f"FaceForensics++ does not have all its clips in {self.archive}")
            return replace(item, split=split, split_origin="official")
        if self.archive == "train":
            group = None if item.identity_ids else f"ff++/{clips[0]}"
            return in_derived_split(replace(item, group=group), self.options.seed)
        note = "split by the archive alone: FaceForensics++'s lists are absent"
        return replace(_noted(item, note), split=Split.TEST, split_origin="official")

    def expected(self) -> Iterator[Expected]:
        """The clips that the index JSON of a method names for this archive; nothing where it is absent."""
        for method, _ in self._folders:
            for domain in ("ff", "cdf") if method else ():
                assert method is not None
                yield from self._indexed(method, domain)

    def _indexed(self, method: Method, domain: str) -> Iterator[Expected]:
        name = f"{method.folder}_{domain}.json"
        file = find_file(name, self.root, self.options.annotations, ("dataset_json",))
        if file is None:
            return
        try:
            names = sorted(set(indexed_names(json.loads(file.read_text()), self.archive)))
        except (ValueError, AttributeError, TypeError) as error:
            raise UsageError(f"{file} is not the official JSON ({error}); download it again") from error
        for clip in names:
            item = self._item(Clip(method, Path(clip), domain, real=False))
            yield Expected(method.name, item.split, None, clip)


class DF40Test(DF40):
    """The test archive of DF40 below a root."""

    info = replace(
        DF40.info,
        key="df40-test",
        aliases=("df40test",),
        title="DF40, test archive",
        role="eval",
        types="REAL FS FR EFS FE",
        size="40 methods on clips of FaceForensics++, Celeb-DF v2 and own reals; ~93 GB",
        layout=(
            "DF40/METHOD/[METHOD/]{ff,cdf}/frames/000_003/000.png (FS, FR); {fake,real}/ (nine methods)",
            "DF40/METHOD/ff/003/11287.png, DF40/METHOD/cdf/{Celeb-real,YouTube-real}/id13_0011/*.png (EFS)",
            "DF40/e4e/{ff/ID/*.jpg, cdf/{Celeb-real,YouTube-real}/inversions/*.jpg}",
            "[splits/{train,val,test}.json of FaceForensics++]",
        ),
        split_rule="test; an ff clip only if FaceForensics++ has every clip id in its name in test (if its "
        "lists are there)",
        label_rule="fake, but for the folders `real` that nine methods bring; type by method folder",
        gotchas=(
            "reals of the ff and cdf clips are not in it: ingest ff++ and celebdf-v2 beside it",
            "mobileswap brings a zip inside the zip: unpack it too",
            "CollabDiff's reals may be missing, heygen ships videos in one release",
            "e4e's ff fakes are the same in both archives, and EFS images repeat: run `mmidd audit`",
            *DF40.info.gotchas[2:],
        ),
    )
    archive = "test"


def _paired(item: Item, method: Method, videos: list[str]) -> Item:
    sure = method.type is ForgeryType.FS
    return replace(
        item,
        pair_id=videos[0],
        target_video=videos[0],
        donor_video=videos[1] if len(videos) > 1 else None,
        pair_confidence="derived" if sure else "low",
        label_note=None if sure else "the authors do not say which clip is its original",
    )


def _of_celebdf(item: Item, method: Method, name: str) -> Item:
    match = _CDF.fullmatch(name)
    if match is None or method.type is ForgeryType.EFS:
        return item
    videos = [f"celebdf-v2/Celeb-real/{person}_{match[3]}" for person in match.groups()[:2]]
    return replace(
        _paired(item, method, videos[:1]),
        identity_ids=tuple(f"celebdf-v2/{person}" for person in match.groups()[:2]),
        overlap_ids=tuple(f"celebdf/{person}" for person in match.groups()[:2]),
    )


def _of_own(item: Item, method: Method, name: str) -> Item:
    """Shipped reals share material with the source that they were taken from, as far as names tell."""
    prefix, form = method.reals or ("", "")
    match = re.fullmatch(form, name)
    shared = item.label is Label.REAL or prefix == "uadfv"
    if not (prefix and match and shared):
        return item
    note = f"taken for material of {prefix} by its name"
    return replace(item, overlap_ids=(f"{prefix}/{match[1]}",), label_note=note)


def _unplaced(item: Item, why: str) -> Item:
    return replace(_noted(item, why), split=Split.NONE, split_origin="unlisted")


def _noted(item: Item, note: str) -> Item:
    return replace(item, label_note="; ".join(filter(None, (item.label_note, note))))


def _why_not(name: str) -> str:
    if method_named(name):
        return "another copy of a method that is read already; remove one of them"
    if name.lower().startswith(("faceforensics", "celeb-df")):
        return "reals of another source; ingest them as ff++ or celebdf-v2"
    return "no method of DF40; a zip that begins at frames/ belongs into a folder named after its method"
