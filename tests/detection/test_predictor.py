from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import matplotlib as mpl
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from mmidd.detection import predictor
from mmidd.detection.predictor import Predictor
from mmidd.detection.verdict import Verdict
from mmidd.errors import UsageError
from mmidd.evaluation.protocol import ThresholdRule
from mmidd.evaluation.results import Threshold
from mmidd.preprocess.crop import decode_image
from mmidd.preprocess.extract import extract
from mmidd.schema import ForgeryType, Label, Media
from mmidd.spec import PreprocessSpec

SPEC = PreprocessSpec.model_validate({"frames": 4, "size": 64})
FITTED = Threshold(rule=ThresholdRule.BALANCED, video=0.4, frame=0.6, dataset="demo", items="9 videos")


@dataclass(frozen=True)
class FakeScores:
    fake: NDArray[np.float32]
    types: NDArray[np.float32] | None
    maps: NDArray[np.float32] | None = None


@dataclass
class FakeRun:
    """Scores crops by position: `fakes` in turn, with the type probabilities `types`."""

    fakes: tuple[float, ...] = (0.9,)
    types: tuple[float, ...] | None = None
    spec: PreprocessSpec = SPEC
    crops: list[NDArray[np.uint8]] = field(default_factory=list)

    def score(self, crops: Sequence[NDArray[np.uint8]]) -> FakeScores:
        fake = [self.fakes[(len(self.crops) + i) % len(self.fakes)] for i in range(len(crops))]
        self.crops += crops
        types = None if self.types is None else np.tile(np.array(self.types, np.float32), (len(crops), 1))
        return FakeScores(np.array(fake, np.float32), types)


@pytest.fixture(scope="module")
def face() -> NDArray[np.uint8]:
    """Matplotlib's public-domain portrait of Grace Hopper, uint8 (300, 256, 3)."""
    path = Path(mpl.get_data_path()) / "sample_data" / "grace_hopper.jpg"
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize((256, 300)))


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory, face: NDArray[np.uint8]) -> Path:
    """face.png, grey.png, half.avi (two frames with the face, then two grey), and what cannot be used."""
    folder = tmp_path_factory.mktemp("media")
    grey = np.full_like(face, 127)
    Image.fromarray(face).save(folder / "face.png")
    Image.fromarray(grey).save(folder / "grey.png")
    with av.open(str(folder / "half.avi"), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width, stream.height, stream.pix_fmt = 256, 300, "yuvj444p"
        for image in (face, face, grey, grey):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "notes.txt").write_text("no picture")
    (folder / "text.jpg").write_text("no picture either")
    return folder


def _one(predictor: Predictor, path: Path) -> Verdict:
    (verdict,) = predictor.detect(path)
    return verdict


def test_an_image_is_scored_on_the_crop_that_training_would_make(media: Path) -> None:
    run = FakeRun()
    verdict = _one(Predictor(run, FITTED), media / "face.png")
    (made,) = extract(media / "face.png", Media.IMAGE, SPEC)
    assert made.blob is not None
    assert len(run.crops) == 1
    np.testing.assert_array_equal(run.crops[0], decode_image(made.blob))
    assert verdict.media is Media.IMAGE
    assert verdict.label is Label.FAKE
    assert verdict.score == pytest.approx(0.9)
    assert verdict.frames[0].box == made.box
    assert verdict.error is None


def test_a_video_is_the_mean_of_its_frames_with_a_face(media: Path) -> None:
    verdict = _one(Predictor(FakeRun(fakes=(0.2, 0.4)), FITTED), media / "half.avi")
    assert verdict.media is Media.VIDEO
    assert verdict.score == pytest.approx(0.3)
    assert verdict.label is Label.REAL
    assert (verdict.counts.used, verdict.counts.without_face, verdict.counts.total) == (2, 2, 4)
    assert [frame.score for frame in verdict.frames] == pytest.approx([0.2, 0.4])
    assert [frame.frame_index for frame in verdict.frames] == [0, 1]


def test_no_face_is_a_result_of_its_own(media: Path) -> None:
    run = FakeRun()
    verdict = _one(Predictor(run), media / "grey.png")
    assert (verdict.label, verdict.score, verdict.error) == (None, None, "no_face")
    assert verdict.counts.without_face == 1
    assert run.crops == []
    assert "no verdict, no_face" in verdict.describe()


def test_a_folder_gives_every_file_a_verdict_in_order(media: Path) -> None:
    verdicts = list(Predictor(FakeRun()).detect(media))
    found = {Path(v.path).name: v.error for v in verdicts}
    assert list(found) == ["empty.jpg", "face.png", "grey.png", "half.avi", "notes.txt", "text.jpg"]
    assert found["face.png"] is found["half.avi"] is None
    assert found["empty.jpg"] == "empty_file"
    assert found["notes.txt"] == "not_media"
    assert found["text.jpg"] == "unreadable"


@pytest.mark.parametrize(("score", "label"), [(0.4, Label.FAKE), (0.399, Label.REAL)])
def test_the_threshold_decides_and_is_named(media: Path, score: float, label: Label) -> None:
    threshold = FITTED.model_copy(update={"video": float(np.float32(0.4))})
    verdict = _one(Predictor(FakeRun(fakes=(score,)), threshold), media / "face.png")
    assert verdict.label is label
    assert "val split of demo" in verdict.threshold_origin


def test_without_a_fitted_threshold_it_is_half_and_said_so(media: Path) -> None:
    verdict = _one(Predictor(FakeRun(fakes=(0.5,))), media / "face.png")
    assert (verdict.threshold, verdict.label) == (0.5, Label.FAKE)
    assert "not fitted" in verdict.threshold_origin
    assert "0.5, not fitted: run `mmidd eval` first" in verdict.describe()


def test_a_fake_has_a_forgery_type_and_a_real_none(media: Path) -> None:
    types = (0.6, 0.1, 0.0, 0.3, 0.0)
    fake = _one(Predictor(FakeRun(fakes=(0.7,), types=types)), media / "face.png")
    real = _one(Predictor(FakeRun(fakes=(0.1,), types=types)), media / "face.png")
    assert fake.type is ForgeryType.EFS
    assert real.type is None
    assert fake.types is not None
    assert fake.types[ForgeryType.REAL] == pytest.approx(0.6)
    assert "entire face synthesis" in fake.describe()


def test_many_frames_are_scored_in_batches_in_order(media: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "BATCH", 1)
    verdict = _one(Predictor(FakeRun(fakes=(0.2, 0.4))), media / "half.avi")
    assert [frame.score for frame in verdict.frames] == pytest.approx([0.2, 0.4])


def test_json_is_one_line_that_reads_back(media: Path) -> None:
    for verdict in Predictor(FakeRun(types=(0.2,) * 5)).detect(media):
        text = verdict.to_json()
        assert "\n" not in text
        assert Verdict.model_validate_json(text) == verdict
        assert json.loads(text)["path"].startswith(media.as_posix())


def test_loading_something_else_than_a_run_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        Predictor.load(tmp_path)


class MapRun(FakeRun):
    """Marks the left half of the more, the higher the score."""

    def score(self, crops: Sequence[NDArray[np.uint8]]) -> FakeScores:
        scored = super().score(crops)
        maps = np.zeros((len(crops), 8, 8), np.float32)
        maps[:, :, :4] = scored.fake[:, None, None]
        return FakeScores(scored.fake, scored.types, maps)


class Talker:
    """Answers that the image is a deepfake; its detector's score is a quarter."""

    def prepare(self, crops: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8]]:
        return list(crops)

    def evidence(self, images: Any) -> Any:
        return SimpleNamespace(scores=torch.tensor([[0.75, 0.25]] * len(images)))

    def answer(self, evidence: Any, talks: Sequence[Any]) -> list[Any]:
        assert len(talks) == len(evidence.scores)
        text = "Yes, this is a deepfake. Look at the nose."
        return [SimpleNamespace(text=text, complete=True, label=Label.FAKE)] * len(talks)


@dataclass
class TalkingRun(FakeRun):
    task: Talker = field(default_factory=Talker)


def test_maps_are_pictures_of_the_most_suspect_frame(media: Path, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "maps"
    predictor = Predictor(MapRun(fakes=(0.1, 0.9, 0.2)), FITTED, maps=folder)
    (path,) = [Path(verdict.map or "") for verdict in predictor.detect(media / "face.png")]
    assert path == folder / "face.png.png"
    again = _one(predictor, media / "face.png")
    assert again.map == (folder / "face.png-2.png").as_posix(), "of another file of that name"
    assert f"map: {again.map}" in again.describe()
    with Image.open(path) as picture:
        pixels = np.asarray(picture)
    (made,) = extract(media / "face.png", Media.IMAGE, SPEC)
    assert made.blob is not None
    crop = decode_image(made.blob)
    assert pixels.shape == crop.shape
    np.testing.assert_array_equal(pixels[:, 40:], crop[:, 40:])
    assert np.abs(pixels[:, :24].astype(int) - crop[:, :24]).mean() > 20


def test_a_run_without_maps_refuses_the_folder_at_once(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not tell where a face is forged; leave --maps out"):
        Predictor(FakeRun(), FITTED, maps=tmp_path / "maps")
    assert not (tmp_path / "maps").exists()


@pytest.mark.parametrize(("yes", "agrees"), [(0.8, True), (0.3, False)])
def test_a_run_that_talks_says_what_and_whether_it_agrees(media: Path, yes: float, agrees: bool) -> None:
    verdict = _one(Predictor(TalkingRun(fakes=(yes,)), FITTED), media / "half.avi")
    assert verdict.detector == pytest.approx(0.25)
    assert verdict.text is not None
    assert verdict.text.fake == pytest.approx(yes)
    assert verdict.text.answer.startswith("Yes")
    assert (verdict.text.label, verdict.text.agrees) == (Label.FAKE, agrees)
    said = verdict.describe()
    assert "detector's P(fake) 0.250" in said
    assert ("against that" in said) is not agrees
    assert Verdict.model_validate_json(verdict.to_json()) == verdict


class Explainer:
    """Says the same of every frame, and votes otherwise."""

    chains = 3

    def prepare(self, crops: Sequence[NDArray[np.uint8]]) -> int:
        return len(crops)

    def explain(self, images: int, chains: int | None = None) -> list[list[SimpleNamespace]]:
        chain = SimpleNamespace(thought="The left eye is blurred.", verdict=Label.FAKE, well_formed=True)
        one = SimpleNamespace(text="<think>", chain=chain, fake=0.5 if chains else 0.75, complete=True)
        return [[one] * (chains or 1)] * images


@dataclass
class ExplainingRun(FakeRun):
    task: Explainer = field(default_factory=Explainer)


def test_a_run_that_explains_does_so_when_asked(media: Path) -> None:
    run = ExplainingRun(fakes=(0.6,))
    assert _one(Predictor(run, FITTED), media / "face.png").text is None
    verdict = _one(Predictor(run, FITTED, explain=True), media / "face.png")
    assert verdict.text is not None
    assert (verdict.text.fake, verdict.text.voted, verdict.text.agrees) == (0.75, 0.5, True)
    assert verdict.score == pytest.approx(0.6), "the verdict itself is the direct one"
    assert "after explaining 0.750, mean of several explanations 0.500" in verdict.describe()
    assert "The left eye is blurred." in verdict.describe()
    with pytest.raises(UsageError, match="leave --explain out"):
        Predictor(FakeRun(), FITTED, explain=True)


def test_the_answer_is_about_the_most_suspect_frame(media: Path) -> None:
    verdict = _one(Predictor(TalkingRun(fakes=(0.2, 0.9, 0.9)), FITTED), media / "half.avi")
    assert verdict.text is not None
    assert verdict.text.frame_index == 1


def test_a_run_that_does_not_talk_has_no_text(media: Path) -> None:
    verdict = _one(Predictor(FakeRun(), FITTED), media / "face.png")
    assert (verdict.text, verdict.detector, verdict.map) == (None, None, None)
    assert "\n" not in verdict.describe()
