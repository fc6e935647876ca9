"""Outputs: refused before work where they would cost something, written whole or not at all."""

import os
from pathlib import Path

import pytest

from neuromorphic.errors import RefusedInput
from neuromorphic.files import check_outputs, whole, write_json


@pytest.fixture
def model(tmp_path: Path) -> Path:
    path = tmp_path / "model.nir"
    path.write_bytes(b"weeks of work")
    return path


@pytest.mark.parametrize("named", [lambda p: p, str, lambda p: f"{p}:key", lambda p: f"cifar10:{p}"])
def test_an_output_that_is_an_input_is_refused_however_it_is_named(model, named):
    with pytest.raises(RefusedInput, match="is the input"):
        check_outputs({"-o": model}, (None, named(model)))


def test_an_output_that_leads_to_an_input_by_a_link_is_refused(model, tmp_path):
    (tmp_path / "soft").symlink_to(model)
    os.link(model, tmp_path / "hard")
    for link in ("soft", "hard"):
        with pytest.raises(RefusedInput, match="is the input"):
            check_outputs({"--json": tmp_path / link}, (model,))


@pytest.mark.parametrize(
    ("outputs", "says"),
    [
        ({"-o": "new.h5", "--json": "./new.h5"}, "-o writes the same file"),
        ({"-o": "."}, "is a folder"),
        ({"-o": "nowhere/new.h5"}, "its folder does not exist"),
        ({"-o": "/dev/null"}, "no ordinary file"),
        ({"-o": "new.txt"}, "ends in .h5"),
    ],
)
def test_places_where_no_file_can_be_written_are_refused(tmp_path, monkeypatch, outputs, says):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RefusedInput, match=says):
        check_outputs({option: Path(path) for option, path in outputs.items()}, (), {"-o": ".h5"})


def test_other_names_are_let_through(model, tmp_path):
    check_outputs({"-o": tmp_path / "new.h5", "--json": None}, (model, "spike-driven-small", f"{tmp_path}:train"))


def test_what_fails_leaves_the_old_file_and_nothing_else(model):
    def fails():
        with whole(model) as partial:
            partial.write_bytes(b"half")
            raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        fails()
    assert model.read_bytes() == b"weeks of work"
    assert list(model.parent.iterdir()) == [model]


def test_a_full_disk_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(RefusedInput, match="can't be written"), whole(tmp_path / "a"):
        raise OSError(28, "No space left on device")


def test_a_link_stays_and_its_file_is_replaced(model, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(model)
    write_json(link, {"a": 1})
    assert link.is_symlink()
    assert model.read_text() == '{\n  "a": 1\n}\n'
