"""`--skip-broken`: files of a folder that are no images are left out, counted and named; else they are refused."""

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import energy.cli
import neuromorphic.cli
from neuromorphic.errors import RefusedInput
from spikeclip.data import load_images
from tests.neuromorphic.graphs import chain, lif


@pytest.fixture
def folder(tmp_path):
    """Two classes of two images, of which the second of each is broken."""
    for name, grey in (("cat", 10), ("dog", 200)):
        (tmp_path / "images" / name).mkdir(parents=True)
        Image.new("RGB", (6, 6), (grey,) * 3).save(tmp_path / "images" / name / "a.png")
        (tmp_path / "images" / name / "b.png").write_bytes(b"no image")
    return tmp_path / "images"


def test_what_is_left_keeps_its_labels_and_names(folder):
    found = load_images(str(folder), 6, skip_broken=True)
    assert found.names == ("cat/a.png", "dog/a.png")
    assert found.broken == ("cat/b.png", "dog/b.png")
    np.testing.assert_array_equal(found.labels, [0, 1])
    assert found.images[:, 0, 0, 0].tolist() == [10, 200]
    assert found.left_out == ("left out 2 files that are no readable images: cat/b.png, dog/b.png",)


def test_nothing_is_left_out_unasked(folder):
    with pytest.raises(RefusedInput, match=r"cat/b\.png: not a readable image"):
        load_images(str(folder), 6)


def test_a_folder_of_broken_images_only_is_refused(folder):
    for file in folder.rglob("a.png"):
        file.write_bytes(b"")
    with pytest.raises(RefusedInput, match="none of 4 files is a readable image"):
        load_images(str(folder), 6, skip_broken=True)


@pytest.mark.parametrize(
    ("app", "options"),
    [(neuromorphic.cli.app, ["--backend", "fast"]), (energy.cli.app, ["--csv", "layers.csv"])],
    ids=["simulate", "energy"],
)
def test_commands_say_what_they_left_out_and_what_they_wrote(app, options, folder, tmp_path, monkeypatch):
    import nir

    monkeypatch.chdir(tmp_path)
    preprocessing = {"mean": [128.0] * 3, "std": [64.0] * 3}
    nir.write("model.nir", chain({"lif": lif((3, 6, 6))}, (3, 6, 6), (3, 6, 6), preprocessing=preprocessing))
    arguments = ["model.nir", "--images", str(folder), "--json", "out.json", *options]
    refused = CliRunner().invoke(app, arguments)
    assert refused.exit_code == 2
    done = CliRunner().invoke(app, [*arguments, "--skip-broken"])
    assert done.exit_code == 0, done.output
    assert "left out 2 files that are no readable images: cat/b.png, dog/b.png" in " ".join(done.stdout.split())
    assert "wrote out.json" in done.stdout
    assert "left out 2 files" in (tmp_path / "out.json").read_text()


@pytest.mark.parametrize("suffix", ["gif", "tiff", "png", "webp"])
def test_the_first_of_several_pictures_in_a_file_is_taken_and_said(tmp_path, suffix):
    """A film, or a pile of pages."""
    films = [Image.new("RGB", (6, 6), (level,) * 3) for level in (10, 200)]
    films[0].save(tmp_path / f"film.{suffix}", save_all=True, append_images=films[1:], lossless=True)
    films[1].save(tmp_path / f"one.{suffix}", lossless=True)
    found = load_images(str(tmp_path), 6)
    assert found.images[:, 0, 0, 0].tolist() == [10, 200]
    assert found.left_out == (f"film.{suffix} holds several pictures; the first is taken",)
