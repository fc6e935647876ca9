import json

import pytest

from spikeclip.config import PRESETS, SpikeClipConfig, preset
from spikeclip.errors import RefusedInput
from spikeclip.recipe import Recipe, parse_schedule


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("architecture", "dense"),
        ("width", 12),
        ("width", 0),
        ("width", 16.0),
        ("depth", -1),
        ("time_steps", 0),
        ("image_size", 30),
        ("image_size", "32"),
        ("tau", 1.0),
        ("tau", float("nan")),
        ("tau", "2"),
        ("v_threshold", 0.0),
        ("v_threshold", float("inf")),
        ("attention_scale", 0.3),
        ("attention_scale", -0.5),
        ("mlp_ratio", 0),
        ("mlp_ratio", 0.001),
        ("mlp_ratio", "4"),
        ("stem_pools", (2, 2)),
        ("stem_pools", (3, 2)),
        ("stem_pools", (4, 5)),
        ("stem_pools", (3,)),
        ("stem_pools", [2, 3]),
        ("stem_channels", (16, 48, 96)),
        ("stem_channels", (16, 48, 96, 0)),
        ("stem_channels", (16, 48, 96, 128.0)),
        ("stem_channels", "wide"),
    ],
)
def test_a_size_out_of_range_is_refused_by_name(field, value):
    with pytest.raises(RefusedInput, match=f"{field} is .*expected"):
        SpikeClipConfig(**{field: value})


def test_heads_divide_the_width_of_the_paper_architecture():
    with pytest.raises(RefusedInput, match="width 64 is not divisible by heads 5"):
        SpikeClipConfig(architecture="paper", width=64, heads=5)


def test_the_paper_architecture_takes_what_the_published_class_takes():
    config = SpikeClipConfig(architecture="paper", width=100, heads=5, mlp_ratio=2.5)
    assert (config.stem_widths, config.hidden_width) == ((12, 25, 50, 100, 100), 250)
    assert (config.attention_scale, SpikeClipConfig().attention_scale) == (0.125, 0.5)
    with pytest.raises(RefusedInput, match="width is 4; expected at least 8"):
        SpikeClipConfig(architecture="paper", width=4, heads=2)


@pytest.mark.parametrize("name", PRESETS)
def test_presets_survive_json(name):
    assert SpikeClipConfig.from_dict(PRESETS[name].to_dict()) == PRESETS[name]


def test_a_stem_as_published_is_in_no_file_and_any_other_is():
    plain, early = SpikeClipConfig(), SpikeClipConfig(stem_pools=(2, 3), stem_channels=(1, 2, 3, 4))
    assert not {"stem_pools", "stem_channels"} & set(plain.to_dict())
    written = json.loads(json.dumps(early.to_dict()))
    assert (written["stem_pools"], written["stem_channels"]) == ([2, 3], [1, 2, 3, 4])
    assert SpikeClipConfig.from_dict(written) == early
    assert early.stem_widths == (1, 2, 3, 4, 384)


def test_unknown_or_missing_fields_are_refused():
    values = SpikeClipConfig().to_dict()
    with pytest.raises(RefusedInput, match="unknown or missing dropout"):
        SpikeClipConfig.from_dict({**values, "dropout": 0.1})
    del values["tau"]
    with pytest.raises(RefusedInput, match="unknown or missing tau"):
        SpikeClipConfig.from_dict(values)


def test_preset_with_changes():
    assert preset("spike-driven-tiny", time_steps=2).time_steps == 2
    with pytest.raises(RefusedInput, match="expected one of spike-driven-tiny"):
        preset("spike-driven")


def test_schedule_is_parsed_and_walked():
    recipe = Recipe(schedule=parse_schedule("1x2,4x1"))
    assert recipe.schedule == ((1, 2), (4, 1))
    assert [recipe.time_steps(epoch) for epoch in range(recipe.epochs)] == [1, 1, 4]


@pytest.mark.parametrize("text", ["", "4", "4x", "4x2x1", "4x2;1x1", "fourx2"])
def test_other_forms_of_a_schedule_are_refused(text):
    with pytest.raises(RefusedInput, match="expected STEPSxEPOCHS"):
        parse_schedule(text)


@pytest.mark.parametrize(
    "wrong",
    [
        {"schedule": ()},
        {"schedule": ((0, 3),)},
        {"batch_size": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"ema": 1.0},
        {"warmup": 1.0},
        {"label_smoothing": 1.0},
        {"weight_decay": -0.1},
        {"seed": -1},
        {"optimizer": "sgd"},
        {"precision": "fp16"},
        {"muon_learning_rate": 0.0},
        {"muon_learning_rate": float("inf")},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(RefusedInput, match="expected"):
        Recipe(**wrong)


def test_learning_rate_rises_to_its_peak_and_falls_to_nothing():
    recipe = Recipe(learning_rate=0.5, warmup=0.2)
    rates = [recipe.learning_rate_at(i / 100) for i in range(101)]
    assert rates[0] == 0
    assert max(rates) == rates[20] == 0.5
    assert rates[10] == pytest.approx(0.25)
    assert rates[60] == pytest.approx(0.25)  # half way down the half cosine
    assert rates[100] == pytest.approx(0, abs=1e-12)
