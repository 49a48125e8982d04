from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mmidd.errors import UsageError
from mmidd.training.config import (
    METHODS,
    LnclipConfig,
    Sd2Config,
    apply_overrides,
    dump_config,
    load_config,
    load_own,
    load_preset,
    preset_names,
)

PRESETS = [(method, preset) for method in METHODS for preset in preset_names(method)]


@pytest.mark.parametrize(("method", "preset"), PRESETS)
def test_every_preset_survives_a_round_trip_through_its_file(
    method: str, preset: str, tmp_path: Path
) -> None:
    config = load_preset(method, preset)
    (tmp_path / "config.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "config.yaml") == config


def test_paper_presets_hold_the_published_settings() -> None:
    lnclip, sd2 = load_preset("lnclip", "paper"), load_preset("sd2", "paper")
    assert isinstance(lnclip, LnclipConfig)
    assert isinstance(sd2, Sd2Config)
    assert (lnclip.optim.lr, lnclip.optim.min_lr, lnclip.batch) == (3e-4, 1e-5, 128)
    assert (lnclip.alignment, lnclip.uniformity, lnclip.slerp_k) == (0.1, 0.5, 8)
    assert (sd2.optim.lr, sd2.batch, sd2.epochs, sd2.alpha) == (5e-7, 1024, 4, 2.0)
    assert (sd2.lora.rank, sd2.clam_heads, sd2.contrast_scale, sd2.contrast_bias) == (8, 8, 10.0, -10.0)


def test_overrides_change_nested_values_and_leave_the_original() -> None:
    config = load_preset("lnclip", "tiny")
    changed = apply_overrides(config, ["optim.lr=1e-4", "epochs=3", "augment.scale=[0.8, 1.2]"])
    assert (changed.optim.lr, changed.epochs, changed.augment.scale) == (1e-4, 3, (0.8, 1.2))
    assert config != changed


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optim.lrr=1", "nearest is 'optim.lr'"),
        ("lr=1", "nearest is 'optim.lr'"),
        ("epoch=1", "nearest is 'epochs'"),
        ("optim.lr.x=1", "no setting 'optim.lr.x'"),
        ("sampling.by.column=label", "sampling.by is a list; set it as a whole"),
        ("sampling.by=[{colum: label}]", "nearest is 'sampling.by.column'"),
        ("augment={rotat: 3}", "no setting 'augment.rotat'; the nearest is 'augment.rotate'"),
        ("optim.lr", "has no '='"),
        ("optim.lr=fast", "optim.lr: "),
        ("optim.lr=-1", "optim.lr: "),
        ("epochs=-1", "epochs: "),
        ("micro_batch=8", "normalises over the batch"),
        ("trainable=lora", "layernorm"),
        ("backbone.name=ViT-B-16", "backbone: "),
        ("epochs=[", "not YAML"),
    ],
)
def test_a_bad_override_is_one_clear_line(override: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        apply_overrides(load_preset("lnclip", "tiny"), [override])
    assert "\n" not in str(caught.value)


def test_unknown_method_and_preset_name_the_known_ones() -> None:
    with pytest.raises(UsageError, match="sd2, lnclip"):
        load_preset("lnclop", "tiny")
    with pytest.raises(UsageError, match="paper, paper-sbi, small, tiny, tiny-sbi"):
        load_preset("sd2", "huge")


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no training run"):
        load_config(tmp_path / "config.yaml")
    (tmp_path / "config.yaml").write_text("method: other\n")
    with pytest.raises(UsageError, match="'other'"):
        load_config(tmp_path / "config.yaml")


def test_a_nested_setting_may_be_given_where_there_was_none(tmp_path: Path) -> None:
    config = apply_overrides(
        load_preset("lnclip", "tiny"), ["optim.ema=0.9", "backbone.shape.vision.layers=3"]
    )
    assert config.backbone.shape
    assert (config.optim.ema, config.backbone.shape.vision.layers) == (0.9, 3)
    with pytest.raises(UsageError, match=r"backbone\.shape\.embed_dim: Field required"):
        apply_overrides(load_preset("lnclip", "paper"), ["backbone.shape.vision={}"])


def test_an_own_file_is_merged_with_what_it_extends(tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("extends: tiny-sbi\noptim: {lr: 0.5}\nsampling: {pair: false}\n")
    base = load_preset("lnclip", "tiny-sbi").model_dump()
    base["optim"]["lr"], base["sampling"]["pair"] = 0.5, False
    assert load_own(file, "lnclip").model_dump() == base


def test_an_unknown_key_is_named_before_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("extends: tiny\nbatchh: 8\nepochs: -3\n")
    with pytest.raises(UsageError, match=r"own.yaml: no setting 'batchh'; the nearest is 'batch'"):
        load_own(tmp_path / "own.yaml", "sd2")


def test_importing_the_configuration_loads_no_torch() -> None:
    code = "import sys, mmidd.training.config; assert not {'torch', 'open_clip', 'cv2'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
