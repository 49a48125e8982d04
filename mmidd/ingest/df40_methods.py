"""The 40 methods of DF40 (Yan et al., NeurIPS 2024; table of github.com/YZY-stack/DF40)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from mmidd.schema import ForgeryType


@dataclass(frozen=True)
class Method:
    """One method.

    Attributes:
        name: as the README writes it.
        folder: folder in the archives.
        type: forgery type.
        known: in the training archive too; the other nine are test only.
        other: further spellings of the folder.
        leading: only the first clip id of a name means something.
        reals: what its shipped reals are: a prefix of overlap keys and the form of their names.
    """

    name: str
    folder: str
    type: ForgeryType
    known: bool = True
    other: tuple[str, ...] = ()
    leading: bool = False
    reals: tuple[str, str] | None = None


_FS, _FR, _EFS, _FE = ForgeryType.FS, ForgeryType.FR, ForgeryType.EFS, ForgeryType.FE
_FFHQ, _CELEBA, _UADFV = ("ffhq", r"(\d{5})"), ("celeba", r"(\d{6})"), ("uadfv", r"(\d{4})(?:_fake)?")

METHODS = (
    Method("FSGAN", "fsgan", _FS),
    Method("FaceSwap", "faceswap", _FS),
    Method("SimSwap", "simswap", _FS),
    Method("InSwapper", "inswap", _FS),
    Method("BlendFace", "blendface", _FS),
    Method("UniFace", "uniface", _FS),
    Method("MobileSwap", "mobileswap", _FS),
    Method("e4s", "e4s", _FS),
    Method("FaceDancer", "facedancer", _FS),
    Method("DeepFaceLab", "deepfacelab", _FS, known=False, reals=_UADFV),
    Method("FOMM", "fomm", _FR),
    Method("FS_vid2vid", "facevid2vid", _FR),
    Method("Wav2Lip", "wav2lip", _FR, leading=True),
    Method("MRAA", "MRAA", _FR),
    Method("OneShot", "one_shot_free", _FR),
    Method("PIRender", "pirender", _FR),
    Method("TPSM", "tpsm", _FR),
    Method("LIA", "lia", _FR),
    Method("DaGAN", "danet", _FR),
    Method("SadTalker", "sadtalker", _FR, leading=True),
    Method("MCNet", "mcnet", _FR),
    Method("HyperReenact", "hyperreenact", _FR),
    Method("HeyGen", "heygen", _FR, known=False, other=("heygen_new",)),
    Method("VQGAN", "VQGAN", _EFS),
    Method("StyleGAN2", "StyleGAN2", _EFS),
    Method("StyleGAN3", "StyleGAN3", _EFS),
    Method("StyleGAN-XL", "StyleGANXL", _EFS),
    Method("SD-2.1", "sd2.1", _EFS, other=("sd2.1_new",)),
    Method("DDPM", "ddim", _EFS),
    Method("RDDM", "RDDM", _EFS),
    Method("PixArt-alpha", "PixArt", _EFS),
    Method("DiT-XL/2", "DiT", _EFS),
    Method("SiT-XL/2", "SiT", _EFS),
    Method("MidJourney6", "MidJourney", _EFS, known=False, reals=_FFHQ),
    Method("WhichisReal", "whichfaceisreal", _EFS, known=False, reals=_FFHQ),
    Method("CollabDiff", "CollabDiff", _FE, known=False, reals=_CELEBA),
    Method("e4e", "e4e", _FE, known=False),
    Method("StarGAN", "stargan", _FE, known=False, reals=_CELEBA),
    Method("StarGANv2", "starganv2", _FE, known=False, reals=_CELEBA),
    Method("StyleCLIP", "styleclip", _FE, known=False, reals=_CELEBA),
)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


_BY_NAME = {_plain(name): m for m in METHODS for name in (m.name, m.folder, *m.other)}


def method_named(folder: str) -> Method | None:
    """The method that a folder is named after, in any case and punctuation, or None."""
    return _BY_NAME.get(_plain(folder))
