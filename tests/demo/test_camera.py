from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import av
import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mmidd.demo.camera import Scene, write_video
from mmidd.demo.forge import Still, real
from mmidd.demo.portraits import TILE
from tests.demo.demo_world import drawn_portrait


def still() -> Still:
    return real([drawn_portrait()], np.random.default_rng(0), 1.0)


def test_frames_have_the_scene_size_and_move() -> None:
    scene = Scene.draw(np.random.default_rng(3), 4)
    frames = list(scene.film(still()))
    assert [frame.shape for frame in frames] == [(scene.size[1], scene.size[0], 3)] * 4
    assert all(frame.dtype == np.uint8 for frame in frames)
    assert np.abs(frames[0].astype(int) - frames[3]).mean() > 1


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000))
def test_the_camera_never_leaves_the_canvas(seed: int) -> None:
    scene = Scene.draw(np.random.default_rng(seed), 6)
    width, height = scene.size
    corners = np.array([[(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)]], np.float32)
    canvas = np.array(scene.background.shape[1::-1])
    for matrix in scene.path:
        seen = cv2.transform(corners, matrix)[0]
        assert (seen >= 0).all()
        assert (seen <= canvas - 1).all()


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_the_face_stays_in_the_frame_and_is_found_where_it_is_located(seed: int) -> None:
    scene, person = Scene.draw(np.random.default_rng(seed), 2), drawn_portrait()
    where = scene.locate(person.points)
    assert (where > 0).all()
    assert (where < np.array(scene.size)).all()
    region = np.zeros(TILE[::-1], np.uint8)
    cv2.circle(region, tuple(int(v) for v in person.points[30].round()), 8, 255, -1)
    first = next(scene.film_region(Still(person.image, person.matte, region)))
    rows, columns = np.nonzero(first[..., 0])
    assert np.linalg.norm(np.array([columns.mean(), rows.mean()]) - where[30]) < 2


def test_equal_frames_give_equal_bytes_and_every_frame_is_there(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_video(tmp_path / name, Scene.draw(np.random.default_rng(5), 7).film(still()), 25)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()
    with av.open(str(tmp_path / "a.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert container.streams.video[0].average_rate == 25
    shown = list(Scene.draw(np.random.default_rng(5), 7).film(still()))
    assert len(frames) == 7
    assert np.abs(frames[3].astype(int) - shown[3]).mean() < 8


def test_a_scene_of_a_given_size() -> None:
    assert Scene.draw(np.random.default_rng(1), 1, (512, 512)).size == (512, 512)


def test_bytes_do_not_depend_on_what_memory_held_before(tmp_path: Path) -> None:
    program = "import sys; from tests.demo.test_camera import film; film(sys.argv[1])"
    for number in ("85", "170"):
        target = str(tmp_path / f"{number}.mp4")
        subprocess.run(
            [sys.executable, "-c", program, target], check=True, env=os.environ | {"MALLOC_PERTURB_": number}
        )
    assert (tmp_path / "85.mp4").read_bytes() == (tmp_path / "170.mp4").read_bytes()


def film(target: str) -> None:
    write_video(Path(target), Scene.draw(np.random.default_rng(5), 7).film(still()), 25)
