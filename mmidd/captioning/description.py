"""What a caption says: attributes from closed lists where lists exist, and one sentence for each half."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field


def _text(least: int, most: int) -> Callable[[str], str]:
    def check(text: str) -> str:
        text = " ".join(text.split())
        if not least <= len(text) <= most:
            raise ValueError(f"{len(text)} characters, not {least} to {most}")
        return text

    return check


# Guided decoding follows the patterns, reading only the lengths: xgrammar lets control characters into
# strings that are bounded by length (mlc-ai/xgrammar#800), and takes no repeat above 128 (#863).
_PLAIN = "[A-Za-z0-9 ,;:'()-]"
Phrase = Annotated[
    str,
    AfterValidator(_text(2, 60)),
    Field(json_schema_extra={"pattern": "^[A-Za-z0-9][A-Za-z0-9 ,;:.'()-]{1,59}$"}),
]
Sentence = Annotated[
    str,
    AfterValidator(_text(15, 240)),
    Field(json_schema_extra={"pattern": rf"^[A-Z]{_PLAIN}{{13,119}}{_PLAIN}{{0,119}}\.$"}),
]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FaceAttributes(_Part):
    """The face; left and right are those of the picture."""

    age_range: Literal["child", "teenager", "20s", "30s", "40s", "50s", "60 or older"]
    gender_presentation: Literal["feminine", "masculine", "ambiguous"]
    expression: Literal[
        "neutral", "smiling", "laughing", "serious", "sad", "angry", "surprised", "speaking", "other"
    ]
    pose: Literal[
        "frontal",
        "turned left",
        "turned right",
        "profile left",
        "profile right",
        "looking up",
        "looking down",
    ]
    hair: Phrase
    skin_tone: Literal["very light", "light", "medium", "tan", "dark", "very dark"]
    skin_texture: Literal["smooth", "textured", "wrinkled", "freckled", "blemished"]
    accessories: Phrase
    occlusion: Literal["none", "hair", "hand", "glasses", "hat", "mask", "other"]


class EnvironmentAttributes(_Part):
    """Everything but the face."""

    scene: Literal["plain backdrop", "studio", "indoors", "outdoors", "stage", "vehicle", "unclear"]
    background: Phrase
    lighting: Literal["soft", "hard", "dim", "bright", "backlit", "from one side", "mixed"]
    colour: Literal[
        "red", "orange", "yellow", "green", "cyan", "blue", "violet", "pink",
        "black", "white", "grey", "brown", "beige", "mixed",
    ]  # fmt: skip
    image_quality: Literal["sharp", "slightly soft", "blurred", "noisy", "blocky"]


class Description(_Part):
    """A caption as the model must answer it; its JSON schema guides the decoding."""

    face: FaceAttributes
    environment: EnvironmentAttributes
    face_sentence: Sentence
    environment_sentence: Sentence
