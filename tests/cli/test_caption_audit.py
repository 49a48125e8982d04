"""`mmidd caption --audit` by the command: two seeds of one model, a review, its decisions."""

from __future__ import annotations

import json
from pathlib import Path

from tests.audit.audit_world import build, row
from tests.captioning.caption_server import GOOD, CaptionServer, described, serving
from tests.cli.command import as_json, mmidd


def test_captions_are_checked_compared_and_reviewed(tmp_path: Path) -> None:
    workspace = build(tmp_path / "ws", *(row(f"s{k}", source="ab"[k % 2]) for k in range(6)))
    other = described(environment_sentence="Behind the head a dark curtain hangs in a dim and narrow room.")
    line = ["caption", "--vlm", "qwen2-vl", "-w", workspace.root]
    with serving(CaptionServer(lambda image, number: GOOD)) as server:
        as_json(*line, "--endpoint", server.url)
        server.reply = lambda image, number: other
        as_json(*line, "--endpoint", server.url, "--seed", 1, "--temperature", 0.7)
    found = as_json(*line, "--audit", "--against", "qwen2-vl-seed1-t0.7", "--review", 4)
    assert (found["captions"], found["samples"]) == (6, 6)
    checks = {(count["kind"], count["check"]) for count in found["counts"]}
    assert ("duplicate", "face") in checks
    assert {rate["attribute"]: rate for rate in found["tables"]["agreement"]}
    assert Path(found["review"]).read_text().count("<img") == 4
    table = mmidd(*line, "--audit")
    assert table.returncode == 0, table.stderr
    assert "6 captions of 6 samples" in table.stdout
    missing = mmidd(*line, "--audit", "--name", "never-made")
    assert missing.returncode == 2
    assert json.loads(GOOD)["face_sentence"] in Path(found["review"]).read_text()
