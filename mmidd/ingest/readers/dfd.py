"""DeepFakeDetection, the actors' part of the FaceForensics++ tree, as an evaluation set of its own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from mmidd.ingest.base import Item, Unlisted
from mmidd.ingest.readers.ffpp import DFD, ClipFolder, FaceForensics
from mmidd.ingest.tree import ClipFile, child
from mmidd.schema import Split


class DeepFakeDetection(FaceForensics):
    """The actors and their swaps; all of it is test."""

    info = replace(
        FaceForensics.info,
        key="dfd",
        aliases=("deepfakedetection",),
        title="DeepFakeDetection (Google and Jigsaw)",
        role="eval",
        types="REAL FS",
        size="363 real clips of 28 actors in 16 scenes, 3,068 fakes",
        layout=(
            "original_sequences/actors/{raw,c23,c40}/videos/01__exit_phone_room.mp4 and "
            "manipulated_sequences/DeepFakeDetection/{raw,c23,c40}/videos/01_02__exit_phone_room__YVGY8LOK.mp4",
            "manipulated_sequences/DeepFakeDetection/masks/videos/01_02__exit_phone_room__YVGY8LOK.mp4",
        ),
        annotations="none",
        split_rule="all test, by protocol: there is no official split",
        label_rule="actors is real, DeepFakeDetection FS",
        obtain="form on the FaceForensics project page",
        gotchas=(
            "the original of 01_02__SCENE__CODE is 01__SCENE",
            "some masks are far shorter than their video",
            "`ff++` reads these clips too, without a split: ingest either",
        ),
    )
    methods = DFD

    @classmethod
    def matches(cls, folder: Path) -> bool:
        """A FaceForensics++ tree with actors or their fakes."""
        groups = (("original_sequences", "actors"), ("manipulated_sequences", "DeepFakeDetection"))
        return any((found := child(folder, group)) and child(found, name) for group, name in groups)

    def _item(self, folder: ClipFolder, stem: str, file: ClipFile) -> Item | Unlisted:
        item = super()._item(folder, stem, file)
        return (
            item if isinstance(item, Unlisted) else replace(item, split=Split.TEST, split_origin="official")
        )
