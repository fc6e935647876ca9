"""Files of prices: those that ship say where each figure is from, and what doesn't follow the schema is refused."""

import tomllib
from importlib import resources

import pytest

from energy.prices import PLAUSIBLE, SHIPPED, Device, read_device, read_devices
from neuromorphic.errors import RefusedInput

OWN = """
format_version = 1
name = "mine"
title = "A device of my own"
technology = "7 nm"
precision = "int4"
chip = true
operations.sop = {{ value = {value}, unit = "{unit}", {common}, grade = "{grade}" }}
operations.update_active = {{ value = 2.0, unit = "pJ", {common}, grade = "measured", range = {range} }}
operations.update_inactive = {{ value = 1.0, unit = "pJ", {common}, grade = "measured" }}
{last}
"""
COMMON = 'source = "a paper", process_node = "7 nm", bit_width = 4'
LAST = f'operations.spike = {{ value = 1.0, unit = "pJ", {COMMON}, grade = "measured" }}'
GOOD = {"value": "0.5", "unit": "pJ", "grade": "estimated", "range": "[1.5, 2.5]", "last": LAST, "common": COMMON}


def write(path, **changes):
    path.write_text(OWN.format(**{**GOOD, **changes}))
    return path


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_devices_name_the_source_of_every_figure(name):
    device = read_device(name)
    assert device.name == name
    for figure in [*device.operations.values(), *device.memories.values()]:
        assert figure.unit == "pJ"
        assert any(str(year) in figure.source for year in (2014, 2018))
        assert figure.grade != "measured"  # none of them was measured on a chip


def test_no_file_ships_that_isnt_listed():
    files = (resources.files("energy") / "devices").iterdir()
    assert sorted(file.name for file in files) == sorted(f"{name}.toml" for name in SHIPPED)


@pytest.mark.parametrize(("name", "mac", "addition"), [("45nm-fp32", 4.6, 0.9), ("45nm-int8", 0.23, 0.03)])
def test_45_nm_is_what_papers_take(name, mac, addition):
    operations = read_device(name).operations
    assert operations["add"].value + operations["multiply"].value == pytest.approx(mac)
    assert operations["add"].value == addition


def test_loihi_1_is_simulation():
    figures = read_device("loihi1").operations
    assert {name: figure.value for name, figure in figures.items()} == {
        "sop": 23.6,
        "update_active": 81.0,
        "update_inactive": 52.0,
        "spike": 1.7,
    }
    assert {figure.grade for figure in figures.values()} == {"simulated"}


@pytest.mark.parametrize(
    ("size", "memory"), [(1, "sram_8k"), (8192, "sram_8k"), (8193, "sram_32k"), (2**20, "sram_1m"), (2**20 + 1, "dram")]
)
def test_an_array_lies_in_the_smallest_memory_that_holds_it(size, memory):
    assert read_device("45nm-fp32").memory(size) == memory


def test_a_file_of_ones_own(tmp_path):
    device = read_device(write(tmp_path / "mine.toml"))
    assert (device.name, device.figure("sop").value, device.chip) == ("mine", 0.5, True)
    assert device.figure("update_active").factors == (0.75, 1.25)
    assert device.figure("sop").factors == (1 / PLAUSIBLE["estimated"], PLAUSIBLE["estimated"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"value": "-1.0"}, ["operations.sop.value", "'-1.0'", "greater than 0"]),
        ({"value": "inf"}, ["operations.sop.value", "finite"]),
        ({"value": '"much"'}, ["operations.sop.value", "'much'", "number"]),
        ({"unit": "nJ"}, ["operations.sop.unit", "'nJ'", "'pJ'"]),
        ({"grade": "guessed"}, ["operations.sop.grade", "'guessed'", "'measured'"]),
        ({"range": "[3.0, 4.0]"}, ["operations.update_active", "does not hold the value 2"]),
        ({"last": ""}, ["expected ['sop', 'spike', 'update_active', 'update_inactive']"]),
        ({"last": LAST.replace("spike", "spikes")}, ["operations.spikes"]),
        ({"last": LAST + "\nmemories.sram = 3"}, ["memories.sram"]),
        ({"last": LAST + "\ncolour = 'red'"}, ["colour", "red"]),
        ({"last": "= 3"}, ["not TOML"]),
    ],
)
def test_other_files_are_refused_by_key(tmp_path, changes, words):
    path = write(tmp_path / "mine.toml", **changes)
    with pytest.raises(RefusedInput) as refusal:
        read_device(path)
    message = str(refusal.value)
    assert str(path) in message
    for word in words:
        assert word in message, message
    assert "\n" not in message


def test_a_missing_file_and_a_name_twice_are_refused(tmp_path):
    with pytest.raises(RefusedInput, match=r"nowhere.*no such file.*45nm-fp32"):
        read_device("nowhere")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(RefusedInput, match=r"binary.toml.*not readable"):
        read_device(tmp_path / "binary.toml")
    with pytest.raises(RefusedInput, match="'loihi1' stands 2 times"):
        read_devices(["loihi1", "45nm-fp32", "loihi1"])


def test_memories_need_widths_and_one_without_a_capacity():
    text = (resources.files("energy") / "devices" / "45nm-fp32.toml").read_text()
    document = tomllib.loads(text)
    for change in (lambda d: d.pop("widths"), lambda d: d["memories"].pop("dram")):
        changed = tomllib.loads(text)
        change(changed)
        with pytest.raises(ValueError, match="without a capacity"):
            Device.model_validate(changed)
    assert Device.model_validate(document).name == "45nm-fp32"
