"""From a file to its crops: one result per planned frame, nothing lost without a reason."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mmidd.errors import MediaError
from mmidd.preprocess.crop import decode_image
from mmidd.preprocess.detectors.base import box_iou, make_detector
from mmidd.preprocess.extract import Extracted, extract
from mmidd.schema import SAMPLES, Media
from mmidd.spec import PreprocessSpec
from tests.preprocess.preprocess_media import portrait, scene, wipe_packets, write_video

PORTRAITS = Path(__file__).resolve().parents[2] / "../shared/data/portraits"

Boxes = list[NDArray[np.float32]]


def moving_face(count: int, empty: tuple[int, ...] = ()) -> tuple[list[NDArray[np.uint8]], Boxes]:
    """A face drifting to the right; the frames `empty` show none."""
    shots = [scene((20 + 8 * index, 60), 0.9) for index in range(count)]
    blank = np.full((360, 640, 3), 90, np.uint8)
    return [blank if n in empty else image for n, (image, _) in enumerate(shots)], [box for _, box in shots]


def iou(item: Extracted, box: NDArray[np.float32]) -> float:
    return box_iou(np.array(item.box, np.float32), box)


def test_video_gives_one_crop_per_sampled_frame(tmp_path: Path) -> None:
    frames, boxes = moving_face(13)
    path = write_video(tmp_path / "v.mp4", frames)
    spec = PreprocessSpec(frames=5, size=128)
    items = list(extract(path, Media.VIDEO, spec))
    assert [item.frame_index for item in items] == [0, 3, 6, 9, 12]
    assert [item.pts_ms for item in items] == pytest.approx([0, 120, 240, 360, 480])
    assert [item.role for item in items] == ["largest", *["track"] * 4]
    for item in items:
        assert iou(item, boxes[item.frame_index or 0]) > 0.6
        assert item.blob is not None
        assert decode_image(item.blob).shape == (128, 128, 3)
        assert (item.width, item.height, item.encoding) == (128, 128, "jpeg")
        assert item.spec_id == spec.spec_id
        assert item.detector == f"dlib@{make_detector('dlib').version}"


def test_columns_are_those_of_the_schema(tmp_path: Path) -> None:
    path = tmp_path / "i.png"
    Image.fromarray(portrait()).save(path)
    (item,) = extract(path, Media.IMAGE, PreprocessSpec())
    columns = item.columns()
    assert set(columns) <= set(SAMPLES.names)
    assert all(value is not None for value in columns.values())
    assert len(item.landmarks or ()) == 136
    assert len(item.landmarks5 or ()) == 10
    assert item.frame_index is None


def test_crop_matrix_carries_the_landmarks_into_the_crop(tmp_path: Path) -> None:
    path = tmp_path / "i.png"
    Image.fromarray(portrait()).save(path)
    (item,) = extract(path, Media.IMAGE, PreprocessSpec(encoding="png", margin=2.0))
    assert item.blob is not None
    (found,) = make_detector("dlib").detect(decode_image(item.blob))
    matrix = np.reshape(item.crop_matrix or (), (2, 3))
    carried = np.reshape(item.landmarks5 or (), (5, 2)) @ matrix[:, :2].T + matrix[:, 2]
    assert found.landmarks5 is not None
    assert np.abs(found.landmarks5 - carried).max() < 8


def test_frames_without_a_face_are_rejected_with_a_reason(tmp_path: Path) -> None:
    frames, _ = moving_face(8, empty=(0, 3, 4))
    path = write_video(tmp_path / "v.mp4", frames)
    items = list(extract(path, Media.VIDEO, PreprocessSpec(frames=8)))
    assert [n for n, item in enumerate(items) if item.reason == "no_face"] == [0, 3, 4]
    assert all((item.blob is None) == (item.reason is not None) for item in items)


def test_a_track_outlasts_frames_without_a_face(tmp_path: Path) -> None:
    both, (box, *_), _ = two_faces(1)
    alone, _ = scene((450, 100), 0.55)
    blank = np.full((360, 640, 3), 90, np.uint8)
    path = write_video(tmp_path / "v.mp4", [alone, blank, both[0]])
    first, _, last = extract(path, Media.VIDEO, PreprocessSpec())
    assert (first.role, last.role) == ("largest", "track")
    assert iou(last, box) > 0.6


def test_damaged_frames_are_rejected_with_a_reason(tmp_path: Path) -> None:
    frames, _ = moving_face(12)
    path = write_video(tmp_path / "v.mp4", frames, interval=4)
    wipe_packets(path, slice(8, None))
    items = list(extract(path, Media.VIDEO, PreprocessSpec(frames=12)))
    assert [item.frame_index for item in items] == list(range(12))
    reasons = [item.reason for item in items]
    assert reasons[:6] == [None] * 6
    assert reasons[9:] == ["not_decoded"] * 3


def test_truncated_video_gives_the_frames_it_has(tmp_path: Path) -> None:
    frames, boxes = moving_face(20)
    path = write_video(tmp_path / "v.mp4", frames, faststart=True, interval=4)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * 0.8)])
    items = list(extract(path, Media.VIDEO, PreprocessSpec(frames=6)))
    crops = [item for item in items if item.blob is not None]
    assert len(crops) >= 4
    assert all(iou(item, boxes[item.frame_index or 0]) > 0.6 for item in crops)


def two_faces(count: int) -> tuple[list[NDArray[np.uint8]], Boxes, list[NDArray[np.uint8]]]:
    """A large face and a small one, the boxes of the small one and masks that mark it."""
    frames, boxes, masks = [], [], []
    for index in range(count):
        large, _ = scene((20, 20), 1.6)
        both, box = scene((450 + 2 * index, 100), 0.55, large)
        mask = np.zeros((360, 640, 3), np.uint8)
        centre = tuple(int(v) for v in (box[:2] + box[2:]) / 2)
        cv2.circle(mask, centre, 18, (255, 255, 255), -1)
        frames.append(both)
        boxes.append(box)
        masks.append(mask)
    return frames, boxes, masks


def test_mask_chooses_the_smaller_of_two_faces(tmp_path: Path) -> None:
    frames, boxes, masks = two_faces(6)
    path, mask = write_video(tmp_path / "v.mp4", frames), write_video(tmp_path / "m.mp4", masks)
    spec = PreprocessSpec(frames=3)
    unmasked = list(extract(path, Media.VIDEO, spec))
    assert [item.role for item in unmasked] == ["largest", "track", "track"]
    assert all(iou(item, boxes[item.frame_index or 0]) == 0 for item in unmasked)
    masked = list(extract(path, Media.VIDEO, spec, mask=mask))
    assert [item.role for item in masked] == ["mask"] * 3
    assert all(iou(item, boxes[item.frame_index or 0]) > 0.6 for item in masked)


def test_mask_of_a_still_may_have_another_size(tmp_path: Path) -> None:
    frames, boxes, masks = two_faces(1)
    path, mask = tmp_path / "i.png", tmp_path / "m.png"
    Image.fromarray(frames[0]).save(path)
    Image.fromarray(masks[0]).resize((320, 180)).save(mask)
    (item,) = extract(path, Media.IMAGE, PreprocessSpec(), mask=mask)
    assert item.role == "mask"
    assert iou(item, boxes[0]) > 0.6


def test_a_shorter_mask_video_leaves_the_rest_to_the_track(tmp_path: Path) -> None:
    frames, boxes, masks = two_faces(6)
    path, mask = write_video(tmp_path / "v.mp4", frames), write_video(tmp_path / "m.mp4", masks[:3])
    items = list(extract(path, Media.VIDEO, PreprocessSpec(frames=6), mask=mask))
    assert [item.role for item in items] == ["mask"] * 3 + ["track"] * 3
    assert all(iou(item, boxes[item.frame_index or 0]) > 0.6 for item in items)


def test_a_mask_beside_every_face_rejects_the_frame(tmp_path: Path) -> None:
    image, _ = scene((20, 20))
    mask = np.zeros((360, 640), np.uint8)
    mask[250:330, 500:600] = 255
    Image.fromarray(image).save(tmp_path / "i.png")
    Image.fromarray(mask).save(tmp_path / "m.png")
    (item,) = extract(tmp_path / "i.png", Media.IMAGE, PreprocessSpec(), mask=tmp_path / "m.png")
    assert (item.reason, item.blob) == ("no_face_on_mask", None)


def test_a_broken_mask_is_named_as_such(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", moving_face(2)[0])
    (tmp_path / "m.mp4").touch()
    with pytest.raises(MediaError) as error:
        list(extract(path, Media.VIDEO, PreprocessSpec(), mask=tmp_path / "m.mp4"))
    assert error.value.reason == "mask_empty_file"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_precropped_bytes_pass_through_untouched(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "crop"
    Image.fromarray(portrait()[60:200, 160:280]).save(path, kind, quality=71)
    (item,) = extract(path, Media.PRECROPPED, PreprocessSpec())
    assert item.blob is not None
    assert hashlib.sha256(item.blob).digest() == hashlib.sha256(path.read_bytes()).digest()
    assert (item.encoding, item.width, item.height) == (kind.lower(), 120, 140)
    assert item.box == (0, 0, 120, 140)
    assert item.crop_matrix == (1, 0, 0, 0, 1, 0)
    assert (item.role, item.detector, item.landmarks) == ("whole", "precropped@1", None)


@pytest.mark.parametrize("media", list(Media))
def test_empty_files_are_a_media_error(tmp_path: Path, media: Media) -> None:
    (tmp_path / "f").touch()
    with pytest.raises(MediaError, match="empty_file"):
        list(extract(tmp_path / "f", media, PreprocessSpec()))


def test_a_video_of_which_nothing_decodes_is_a_media_error(tmp_path: Path) -> None:
    path = write_video(tmp_path / "v.mp4", moving_face(3)[0])
    wipe_packets(path, slice(None))
    with pytest.raises(MediaError, match="no_frames"):
        list(extract(path, Media.VIDEO, PreprocessSpec()))


@pytest.mark.skipif(not PORTRAITS.is_dir(), reason="the shared portraits are not beside the repository")
def test_real_portraits_give_one_crop_each() -> None:
    paths = sorted(PORTRAITS.rglob("*.jpg"))[::100]
    items = [item for path in paths for item in extract(path, Media.IMAGE, PreprocessSpec())]
    assert sum(item.blob is not None for item in items) >= 0.9 * len(paths)
