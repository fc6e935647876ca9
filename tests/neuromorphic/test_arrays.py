"""Files of numpy's that are none, are damaged or hold Python objects: one sentence each, and nothing is executed."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from neuromorphic.arrays import mapped_npy, opened_npz, texts
from neuromorphic.errors import RefusedInput


class Bomb:
    """Makes a file when it is unpickled."""

    def __reduce__(self):
        return Path("executed").touch, ()


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"<!DOCTYPE html><html>not found</html>", r"begins with b'<!DOCTYPE html>.*; expected a zip archive"),
        (b"version https://git-lfs.github.com/spec/v1\n", r"begins with b'version https://git-lfs"),
        (pickle.dumps({"frames": [1, 2]}), r"begins with b'.x80.*; expected a zip archive"),
        (b"\x93NUMPY\x01\x00", r"begins with b'.x93NUMPY"),
        (b"", "is empty; expected a zip archive"),
        (b"PK\x03\x04 but nothing more", r"not a readable \.npz file \(File is not a zip file\)"),
    ],
)
def test_what_is_no_npz_is_named_by_how_it_begins(tmp_path, data, says):
    path = tmp_path / "a.npz"
    path.write_bytes(data)
    with pytest.raises(RefusedInput, match=says) as caught, opened_npz(path):
        pass
    assert str(caught.value).startswith(f"{path}: ")
    assert "pickle" not in str(caught.value)


@pytest.mark.parametrize("value", [{}, "a name", None, Bomb()])
def test_python_objects_are_refused_and_not_made(tmp_path, monkeypatch, value):
    monkeypatch.chdir(tmp_path)
    held = np.array([value, 1], dtype=object)
    np.savez("a.npz", labels=held)
    np.save("a.npy", held)
    says = "holds Python objects, .*; expected numbers or text"
    with pytest.raises(RefusedInput, match=rf"a\.npz: {says}"), opened_npz(Path("a.npz")) as found:
        found["labels"]
    with pytest.raises(RefusedInput, match=rf"a\.npy: {says}"):
        mapped_npy(Path("a.npy"))
    assert not Path("executed").exists()


def test_arrays_are_read_and_refusals_inside_are_passed_on(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.arange(3))
    with opened_npz(path) as found:
        assert found["x"].tolist() == [0, 1, 2]
    with pytest.raises(RefusedInput, match=r"^the body's own$"), opened_npz(path):
        raise RefusedInput("the body's own")
    with pytest.raises(RefusedInput, match=r"b\.npz: not a readable \.npz file"), opened_npz(tmp_path / "b.npz"):
        pass


def test_text_is_text_or_bytes_in_utf_8():
    names = ("café", "cat")
    assert texts(np.array(names), "a.npz: names") == texts(np.array([n.encode() for n in names]), "") == names
    with pytest.raises(RefusedInput, match=r"a\.npz: names are bytes that are no UTF-8"):
        texts(np.array(["café".encode("latin-1")]), "a.npz: names")
    for other in (np.array("cat"), np.array([["cat"]]), np.array([1])):
        with pytest.raises(RefusedInput, match=r"names are .* \[.*\]; expected strings \[N\]"):
            texts(other, "a.npz: names")
