"""A fabricated raw tree of DeepfakeTIMIT beside VidTIMIT."""

from __future__ import annotations

from pathlib import Path

from tests.ingest.trees import put

JPG = b"\xff\xd8\xff\xe0 not really"
AVI = b"RIFF\0\0\0\0AVI not really"
PARTNERS = {"fadg0": "fram1", "fram1": "fadg0", "mccs0": "mstk0"}
SUBJECTS = ("fadg0", "fram1", "mccs0", "mstk0", "felc0")
UTTERANCES = ("sa1", "si1279")


def fakes(root: Path) -> Path:
    """Both qualities of three subjects, with sound."""
    for quality in ("higher_quality", "lower_quality"):
        for subject, donor in PARTNERS.items():
            for utterance in UTTERANCES:
                put(root / quality / subject / f"{utterance}-video-{donor}.avi", AVI)
            put(root / quality / subject / "sa1.wav", b"RIFF sound")
    return root


def vidtimit(root: Path, *, form: str = "video", suffix: str = "") -> Path:
    """Five subjects as folders of frames, as `avi`, or with subjects `doubled`."""
    for subject in SUBJECTS:
        base = root / subject / (subject if form == "doubled" else "")
        for utterance in (*UTTERANCES, "head", "HEAD2", "head3"):
            if form == "avi":
                put(base / f"{utterance}.avi", AVI)
                continue
            for frame in (1, 2, 10):
                put(base / "video" / utterance / f"{frame:03d}{suffix}", JPG)
        put(base / "audio" / "sa1.wav", b"RIFF sound")
    return root


def timit(root: Path) -> Path:
    """Both sets in one folder."""
    fakes(root / "DeepfakeTIMIT")
    vidtimit(root / "VidTIMIT")
    return root


TREES = {"timit": timit}
