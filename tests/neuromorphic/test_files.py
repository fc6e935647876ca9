"""Outputs: refused before work where they would cost something, written whole or not at all."""

import errno
import os
from pathlib import Path

import pytest

from neuromorphic.errors import RefusedInput
from neuromorphic.files import all_written, atomic, check_folder, check_outputs, write_json


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
    ("spec", "held"),
    [
        (str, "cat/1.png"),
        (lambda folder: f"stl10:{folder}:test", "test_X.bin"),
        (lambda folder: f"cifar100:{folder}", "cifar-100-python/test"),
        (Path, "7/00012.npz"),
        (Path, "user02_labels.csv"),
    ],
)
def test_a_file_in_a_folder_that_is_read_is_refused_by_whatever_link(tmp_path, spec, held):
    folder = tmp_path / "data"
    for name in (held, "run.json"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"data")
    (tmp_path / "link.html").symlink_to(folder / held)
    with pytest.raises(RefusedInput, match=r"link\.html: is the input .*expected another file"):
        check_outputs({"--html": tmp_path / "link.html"}, (spec(folder),))
    check_outputs({"--json": folder / "run.json", "--csv": folder / "new.csv"}, (spec(folder),))  # of an earlier run


def test_a_link_in_a_folder_that_is_read_leads_to_an_input(tmp_path):
    (tmp_path / "elsewhere.csv").write_bytes(b"data")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "0.npz").symlink_to(tmp_path / "elsewhere.csv")
    with pytest.raises(RefusedInput, match="is the input"):
        check_outputs({"--csv": tmp_path / "elsewhere.csv"}, (tmp_path / "data",))


def test_no_file_of_a_kept_folder_is_replaced(tmp_path):
    (tmp_path / "manifest.json").write_text("{}")
    check_outputs({"--json": tmp_path / "manifest.json"}, (tmp_path,))
    with pytest.raises(RefusedInput, match=r"manifest\.json: is the input"):
        check_outputs({"--json": tmp_path / "manifest.json"}, (), kept=(tmp_path,))


def test_a_folder_and_a_file_of_one_name_are_refused(tmp_path):
    with pytest.raises(RefusedInput, match="--svg writes the same file"):
        check_outputs({"--json": tmp_path / "out"}, folders={"--svg": tmp_path / "out"})


@pytest.mark.parametrize(
    ("outputs", "says"),
    [
        ({"-o": "new.h5", "--json": "./new.h5"}, "-o writes the same file"),
        ({"-o": "."}, "is a folder"),
        ({"-o": "nowhere/new.h5"}, "its folder does not exist"),
        ({"-o": "/dev/null"}, "no ordinary file"),
        ({"-o": "/dev/stdout"}, "no ordinary file"),
        ({"-o": "/dev/fd/0"}, "no ordinary file"),
        ({"-o": "/proc/self/fd/1"}, "no ordinary file"),
        ({"-o": "circle.h5"}, "no ordinary file"),
        ({"-o": "x" * 300 + ".h5"}, "is no name for a file .*too long"),
        ({"-o": "new.txt"}, "-o new.txt: expected a name that ends in .h5 or .hdf5"),
        ({"--json": "run.html"}, "--json run.html: expected a name that ends in .json"),
        ({"--html": "run.json"}, "--html run.json: expected a name that ends in .html or .htm"),
    ],
)
def test_places_where_no_file_can_be_written_are_refused(tmp_path, monkeypatch, outputs, says):
    monkeypatch.chdir(tmp_path)
    Path("circle.h5").symlink_to("circle.h5")
    with pytest.raises(RefusedInput, match=says):
        check_outputs({option: Path(path) for option, path in outputs.items()}, (), {"-o": (".h5", ".hdf5")})


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("figures.svg", "would be a folder; expected a name that doesn't end in .svg"),
        ("model.nir", "is a file; expected a folder"),
        ("nowhere/figures", "its folder does not exist"),
    ],
)
def test_places_where_no_folder_can_be_made_are_refused(model, monkeypatch, name, says):
    monkeypatch.chdir(model.parent)
    with pytest.raises(RefusedInput, match=f"^--svg {name}: {says}"):
        check_folder("--svg", Path(name))


def test_a_folder_is_let_through_that_is_there_or_can_be_made(tmp_path):
    check_folder("--svg", tmp_path)
    check_folder("--svg", tmp_path / "spike-driven-0.1")


def test_other_names_are_let_through(model, tmp_path):
    check_outputs(
        {"-o": tmp_path / "new.h5", "--json": None, "--html": tmp_path / "RUN.HTML", "--csv": tmp_path / "no"},
        (model, "spike-driven-small", f"{tmp_path}:train"),
    )


def test_what_fails_leaves_the_old_file_and_nothing_else(model):
    def fails():
        with atomic(model) as partial:
            partial.write_bytes(b"half")
            raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        fails()
    assert model.read_bytes() == b"weeks of work"
    assert list(model.parent.iterdir()) == [model]


def test_what_can_not_be_written_keeps_no_other_file_from_being_written(tmp_path):
    told = []

    def full(path):
        with atomic(path):
            raise OSError(28, "No space left on device")

    both = pytest.raises(RefusedInput, match=r"a\.json: can't be written .*; .*c\.svg: can't be written")
    with both, all_written(lambda *paths: told.extend(path.name for path in paths)) as write:
        write(tmp_path / "a.json", full)
        write(None, full)
        write(tmp_path / "b.json", lambda path: write_json(path, {}))
        write(tmp_path / "c.svg", full)
    assert told == ["b.json"]
    assert [path.name for path in tmp_path.iterdir()] == ["b.json"]


def test_a_full_disk_is_refused_in_a_sentence(tmp_path):
    with pytest.raises(RefusedInput, match="can't be written"), atomic(tmp_path / "a"):
        raise OSError(28, "No space left on device")


def test_a_link_stays_and_its_file_is_replaced(model, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(model)
    write_json(link, {"a": 1})
    assert link.is_symlink()
    assert model.read_text() == '{\n  "a": 1\n}\n'


def made(monkeypatch: pytest.MonkeyPatch, nameless: bool) -> None:
    """Where files shall have a name while they are made: as on systems that know no other."""
    if not nameless:
        monkeypatch.delattr(os, "O_TMPFILE")


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="of Linux")
@pytest.mark.parametrize("nameless", [True, False])
def test_a_file_replaces_the_old_one_only_when_it_is_whole(model, monkeypatch, nameless):
    made(monkeypatch, nameless)
    with atomic(model) as partial:
        partial.write_bytes(b"half")
        assert model.read_bytes() == b"weeks of work"
        assert (list(model.parent.iterdir()) == [model]) is nameless  # a kill -9 would leave no half of a file
        with partial.open("ab") as file:
            file.write(b" and whole")
    assert model.read_bytes() == b"half and whole"
    assert list(model.parent.iterdir()) == [model]


@pytest.mark.parametrize("nameless", [True, False])
def test_new_files_have_the_permissions_that_the_user_asks_for(tmp_path, monkeypatch, nameless):
    if hasattr(os, "O_TMPFILE"):
        made(monkeypatch, nameless)
    before = os.umask(0o027)
    try:
        write_json(tmp_path / "a.json", 1)
    finally:
        os.umask(before)
    assert (tmp_path / "a.json").stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("code", [errno.EOPNOTSUPP, errno.EISDIR])
def test_a_disk_without_nameless_files_is_written_all_the_same(tmp_path, monkeypatch, code):
    opened = os.open

    def refuse(path, flags, *rest, **options):
        if flags & getattr(os, "O_TMPFILE", 0) == getattr(os, "O_TMPFILE", -1):
            raise OSError(code, os.strerror(code))
        return opened(path, flags, *rest, **options)

    monkeypatch.setattr(os, "open", refuse)
    write_json(tmp_path / "a.json", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
