from __future__ import annotations

from importlib import resources

import pytest
import torch
import yaml

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.training.config import MAX_SEED, TrainingConfig, differing, read_config

EXAMPLE = resources.files("cxgi_bluesky").joinpath("training", "example.yml")


def config_of(tmp_path, text: str) -> TrainingConfig:
    path = tmp_path / "c.yml"
    path.write_text(text)
    return read_config(path)


def keys(words: dict, where: str = "") -> set[str]:
    """All keys; sizes and families are values."""
    return {
        key
        for name, value in words.items()
        for key in (
            {f"{where}{name}"}
            | (keys(value, f"{where}{name}.") if isinstance(value, dict) and name != "families" else set())
        )
        if isinstance(name, str) and not name.isdigit()
    }


def test_the_example_is_the_defaults_and_has_every_key(tmp_path):
    text = EXAMPLE.read_text(encoding="utf-8")
    assert config_of(tmp_path, text) == TrainingConfig()
    assert keys(yaml.safe_load(text)) == keys(TrainingConfig().to_dict()) | {"start", "cache", "device"}


def test_every_key_of_the_example_has_a_comment():
    for line in EXAMPLE.read_text(encoding="utf-8").splitlines():
        _, _, value = line.partition(":")
        if value.strip() and not line.lstrip().startswith("#"):
            assert "  # " in line, line


def test_an_empty_file_is_the_defaults(tmp_path):
    assert config_of(tmp_path, "") == TrainingConfig()


def test_folders_of_this_machine_stay_here(tmp_path):
    config = config_of(tmp_path, "{start: a.safetensors, cache: /here, objects: {folder: /home/me}}")
    assert "here" not in str(config.to_dict())
    assert "/home" not in str(config.to_dict())


def test_what_differs_is_named():
    now = config = TrainingConfig().to_dict()
    assert differing(config, now) == {}
    now = TrainingConfig(seed=3, sizes={64: 1.0}).to_dict()
    assert differing(config, now) == {"seed": (20261122, 3), "sizes": (config["sizes"], {"64": 1.0})}
    assert differing({"boards": {"none": 0.1}}, {"boards": {"none": 0.2}}) == {"boards.none": (0.1, 0.2)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", r"the file is \[1, 2\]: give names with values"),
        ("{step: 3}", "step is unknown: choose of .*steps"),
        ("{noise: {snr: 3}}", "noise.snr is unknown: choose of drift, sigma_error, snr_db"),
        ("{steps: many}", "steps 'many': give a whole number"),
        ("{steps: true}", "steps True: give a whole number"),
        ("{bfloat16: 1}", "bfloat16 1: give true or false"),
        ("{learning_rate: .nan}", "learning_rate nan: give a number"),
        ("{sampling: {fraction: 0.5}}", r"sampling.fraction 0.5: give two numbers"),
        ("{network: {widths: [8, 8]}}", r"network.widths \[8, 8\]: give three whole numbers"),
        ("{start: 5}", "start 5: give a path, or null"),
        ("{sizes: 64}", "sizes 64: give sizes with shares"),
        ("{steps: 0}", "steps 0: give at least 1"),
        ("{batch: -1}", "batch -1: give at least 1"),
        ("{uncertainty_steps: -1}", "uncertainty_steps -1: give at least 0"),
        ("{learning_rate: -0.1}", "learning_rate -0.1: give a positive number"),
        ("{last_learning_rate: 1.0}", "last_learning_rate 1.0: give a positive number, at most learning_rate"),
        ("{learning_rate: 100}", "learning_rate 100.0: give a positive number up to 1.0"),
        ("{learning_rate: 1e-3}", "learning_rate '1e-3' is a word to YAML: write 0.001 or 1.0e-3"),
        ("{learning_rate: 25e-7}", "learning_rate '25e-7' is a word to YAML: write 25.0e-7"),
        ("{learning_rate: fast}", "learning_rate 'fast': give a number"),
        ("{average: 1.0}", "average 1.0: give the share"),
        ("{weight_decay: -1}", "weight_decay -1.0: give at least 0"),
        ("{seed: -4}", "seed -4: give at least 0"),
        ("{seed: 10000000000001}", "seed 10000000000001: give at most 10000000000000"),
        ("{boards: {seed: 18446744073709551616}}", "boards.seed 18446744073709551616: give at most"),
        ("{sizes: {64: 0}}", "sizes {64: 0.0}: give each a share"),
        ("{sizes: {48: 1}}", "48"),
        ("{sizes: {4: 1}}", "sizes 4: .*at least 8"),
        ("{sizes: {512: 1}}", "size 512 has no objects"),
        ("{objects: {count: {256: 0}}}", r"objects.count\[256\] 0: give at least 1"),
        ("{objects: {families: {dogs: 1}}}", "'dogs'.*unknown: choose of binary_shapes"),
        ("{objects: {families: {letters: -1}}}", "objects.families {'letters': -1.0}: give each a share"),
        ("{objects: {folder_share: 2}}", "objects.folder_share 2.0: give a share"),
        ("{sampling: {fraction: [0.5, 0.1]}}", "sampling.fraction"),
        ("{sampling: {usual: 0}}", "sampling.usual 0.0"),
        ("{sampling: {usual_share: 0.7, short_share: 0.7}}", "usual_share 0.7 .* more than 1"),
        ("{sampling: {shortest: 2}}", "sampling.shortest 2: give at least 8"),
        ("{noise: {snr_db: [30, 10]}}", "noise.snr_db .*lower bound first"),
        ("{sampling: {shortest: 257}}", "sampling.shortest 257: size 16 has only 256 patterns"),
        ("{noise: {snr_db: [0, 4000]}}", "noise.snr_db .*give decibels between -100 and 200"),
        ("{noise: {drift: 1.5}}", "noise.drift 1.5: give at most 1"),
        ("{noise: {drift: -1}}", "noise.drift -1.0: give at least 0"),
        ("{boards: {none: 0.9, reference: 0.9}}", "more than 1"),
        ("{boards: {none: -0.1}}", "boards.none -0.1: give a share"),
        ("{boards: {count: {64: -1}}}", r"boards.count\[64\] -1"),
        ("{boards: {count: {256: 1}}}", r"boards.count\[256\] 1: boards are drawn up to 128"),
        ("{boards: {count: {16: 1}}}", r"boards.patterns\[16\] missing: give 16 to 256 tiles"),
        ("{boards: {patterns: {64: 9000, 32: 64}}}", r"boards.patterns\[64\] 9000: give"),
        ("{boards: {ranges: {corner: [0.3, 0.1]}}}", "boards.ranges.corner .*lower bound first"),
        ("{boards: {ranges: {corner: [-0.3, 0.1]}}}", "boards.ranges.corner .*not negative"),
        ("{boards: {ranges: {offset_rms: [0, 0.1]}}}", "boards.ranges.offset_rms .*logarithm"),
        ("{boards: {ranges: {d_r: [0.5, 1.5]}}}", "boards.ranges.d_r .*up to 1"),
        ("{network: {wavelet: magic}}", "network.wavelet: wavelet 'magic' is unknown"),
        ("{network: {wavelet: bior2.2}}", "network.wavelet: wavelet 'bior2.2' is not orthogonal"),
        ("{network: {widths: [8, 0, 8]}}", "network.widths 0: give at least 1"),
        ("{network: {widths: [8, 8, 1000000]}}", "network.widths 1000000: give at most 4096"),
        ("steps: 3\nsteps: 4", "steps stands twice in the part that begins in line 1: keep one"),
        ("steps: 3\nsizes: {64: 1, 64: 2}", "64 stands twice in the part that begins in line 2"),
        ("{device: tpu}", "device tpu: choose auto, cpu or cuda"),
        ("{network: {memory: 1}}", "network.memory 1"),
        ("{network: {passes: 0}}", "network.passes 0: give at least 1"),
        ("{steps: [", "cannot be read"),
        ("!!python/object/apply:os.system ['true']", "cannot be read"),
    ],
)
def test_each_wrong_value_is_named_with_a_remedy(text, message, tmp_path):
    with pytest.raises(CxgiError, match=f"training configuration .*c.yml.*{message}"):
        config_of(tmp_path, text)


def test_the_old_name_of_uncertainty_steps_is_read_with_a_warning(tmp_path):
    with pytest.warns(FutureWarning, match="doubt_steps is now uncertainty_steps"):
        assert config_of(tmp_path, "{doubt_steps: 7}") == TrainingConfig(uncertainty_steps=7)
    with pytest.raises(CxgiError, match="doubt_steps is unknown"):
        config_of(tmp_path, "{doubt_steps: 7, uncertainty_steps: 7}")


def test_configurations_made_in_python_are_checked():
    with pytest.raises(ValueError, match=r"steps\n.*greater than or equal to 1"):
        TrainingConfig(steps=0)


def test_the_largest_seed_is_one_for_torch():
    torch.Generator().manual_seed(MAX_SEED * 1_000_003 + 10**9)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(CxgiError, match=r"nowhere.yml cannot be read"):
        read_config(tmp_path / "nowhere.yml")
