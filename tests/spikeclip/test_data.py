import io
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from spikeclip.data import SAMPLES, load_images
from spikeclip.errors import RefusedInput

CIFAR10_CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def records(n, label_bytes, seed=0):
    """Labels, images [n, 32, 32, 3] and the bytes of a CIFAR file with them, record by record."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, n)
    images = rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)
    coarse = [7] * (label_bytes - 1)
    written = b"".join(
        bytes([*coarse, label]) + b"".join(image[:, :, c].tobytes() for c in range(3))
        for label, image in zip(labels, images, strict=True)
    )
    return labels, images, written


def photograph(path, size=(20, 10), colour=(200, 30, 40)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)
    return path


@pytest.mark.parametrize(
    ("kind", "name", "label_bytes"), [("cifar10", "test_batch.bin", 1), ("cifar100", "test.bin", 2)]
)
def test_cifar_records_come_back_as_they_were_written(tmp_path, kind, name, label_bytes):
    labels, images, written = records(5, label_bytes)
    (tmp_path / name).write_bytes(written)
    found = load_images(f"{kind}:{tmp_path}", 32)
    np.testing.assert_array_equal(found.images, images)
    np.testing.assert_array_equal(found.labels, labels)
    assert found.names[2] == "test/2"
    assert len(found.label_names) == {"cifar10": 10, "cifar100": 100}[kind]  # the official ones


def test_cifar_training_files_in_order_with_class_names_in_the_official_folder(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    folder.mkdir()
    (folder / "batches.meta.txt").write_text("\n".join(CIFAR10_CLASSES) + "\n\n")
    expected = []
    for i in range(1, 6):
        labels, _, written = records(3, 1, seed=i)
        (folder / f"data_batch_{i}.bin").write_bytes(written)
        expected += labels.tolist()
    found = load_images(f"cifar10:{tmp_path}:train", 32)
    assert found.labels.tolist() == expected
    assert found.label_names == tuple(CIFAR10_CLASSES)
    assert load_images(f"cifar10:{tmp_path}:train", 32, limit=4).labels.tolist() == expected[:4]


def test_truncated_cifar_file_is_refused(tmp_path):
    (tmp_path / "test_batch.bin").write_bytes(records(3, 1)[2][:-1])
    with pytest.raises(RefusedInput, match=r"test_batch\.bin: 9218 bytes; expected a multiple of 3073"):
        load_images(f"cifar10:{tmp_path}", 32)


def test_cifar_label_beyond_the_class_names_is_refused(tmp_path):
    (tmp_path / "test_batch.bin").write_bytes(bytes([3]) + bytes(3072))
    (tmp_path / "batches.meta.txt").write_text("cat\ndog\n")
    with pytest.raises(RefusedInput, match=r"a label is 3 \(image 0\); batches\.meta\.txt has 2 names"):
        load_images(f"cifar10:{tmp_path}", 32)


def test_absent_cifar_is_refused(tmp_path):
    with pytest.raises(
        RefusedInput, match=r"test_batch\.bin not found, nor test_batch, here or in cifar-10-batches-bin"
    ):
        load_images(f"cifar10:{tmp_path}", 32)


def test_npz_round_trip(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=[1, 0, 1, 0], label_names=["no", "yes"])
    found = load_images(str(tmp_path / "a.npz"), 8, limit=3)
    np.testing.assert_array_equal(found.images, images[:3])
    assert found.labels.dtype == np.int64
    assert found.labels.tolist() == [1, 0, 1]
    assert found.label_names == ("no", "yes")
    np.savez(tmp_path / "a.npz", images=images, labels=[1, 0, 1, 0], label_names=[b"no", b"yes"])
    assert load_images(str(tmp_path / "a.npz"), 8).label_names == ("no", "yes")


GOOD = np.zeros((2, 8, 8, 3), np.uint8)


@pytest.mark.parametrize(
    ("arrays", "sentence"),
    [
        ({"pictures": GOOD}, "has pictures; expected an array 'images'"),
        ({"images": GOOD.astype(np.float32)}, "images are float32"),
        ({"images": GOOD[..., :2]}, r"images are uint8 \[2, 8, 8, 2\]"),
        ({"images": GOOD[:0]}, r"images are uint8 \[0, 8, 8, 3\]"),
        ({"images": GOOD, "labels": [0, 1, 2]}, r"labels are int64 \[3\]; expected integers \[2\]"),
        ({"images": GOOD, "labels": [0.0, 1.0]}, "labels are float64"),
        ({"images": GOOD, "labels": [0, -1]}, r"a label is -1 \(sample 1\); expected the numbers of classes, from 0"),
        (
            {"images": GOOD, "labels": [0, 2], "label_names": ["a", "b"]},
            r"a label is 2 \(sample 1\); label_names has 2 names",
        ),
        ({"images": GOOD, "labels": [0, 1], "label_names": [[1, 2]]}, r"label_names are int64 \[1, 2\]"),
        ({"images": GOOD, "labels": np.array([2**63, 0], np.uint64)}, r"a label is 9223372036854775808 \(sample 0\)"),
        ({"images": np.array([{}, {}], dtype=object)}, "holds Python objects"),
    ],
)
def test_npz_with_other_contents_is_refused(tmp_path, arrays, sentence):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(RefusedInput, match=sentence) as caught:
        load_images(str(tmp_path / "a.npz"), 8)
    assert "a.npz" in str(caught.value)


def test_files_that_are_no_npz_are_refused(tmp_path):
    path = tmp_path / "a.npz"
    path.write_bytes(b"PK\x03\x04 but nothing more")
    with pytest.raises(RefusedInput, match=r"not a readable \.npz file"):
        load_images(str(path), 8)
    with path.open("wb") as file:
        np.save(file, GOOD)  # an .npy by content
    with pytest.raises(RefusedInput, match=r"NUMPY.*; expected a zip archive"):
        load_images(str(path), 8)


def test_damaged_compressed_npz_is_refused(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, images=np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8))
    data = bytearray(path.read_bytes())
    data[200:220] = bytes(20)
    path.write_bytes(data)
    with pytest.raises(RefusedInput, match=r"not a readable \.npz file"):
        load_images(str(path), 8)


def test_folder_of_images_in_order_of_names(tmp_path):
    photograph(tmp_path / "b.png", colour=(0, 0, 255))
    photograph(tmp_path / "a.JPG", colour=(255, 0, 0))
    (tmp_path / "notes.txt").write_text("no image")
    found = load_images(str(tmp_path), 8)
    assert found.names == ("a.JPG", "b.png")
    assert found.labels is None
    assert found.images[1, 4, 4].tolist() == [0, 0, 255]


def test_sub_folders_are_classes(tmp_path):
    photograph(tmp_path / "dog" / "x.png")
    photograph(tmp_path / "cat" / "y.png")
    photograph(tmp_path / "cat" / "z.png")
    photograph(tmp_path / ".thumbnails" / "y.png")
    found = load_images(str(tmp_path), 8)
    assert found.label_names == ("cat", "dog")
    assert found.labels.tolist() == [0, 0, 1]
    assert found.names == ("cat/y.png", "cat/z.png", "dog/x.png")
    assert load_images(str(tmp_path), 8, limit=1).labels.tolist() == [0]


def test_images_beside_class_folders_are_refused(tmp_path):
    photograph(tmp_path / "dog" / "x.png")
    photograph(tmp_path / "y.png")
    with pytest.raises(RefusedInput, match="holds images and the folder dog"):
        load_images(str(tmp_path), 8)


def test_images_deeper_than_their_class_folder_are_refused(tmp_path):
    photograph(tmp_path / "cat/0.png")
    photograph(tmp_path / "dog/0.png")
    photograph(tmp_path / "dog/puppies/small/1.jpg")
    with pytest.raises(RefusedInput, match="dog: holds images and the folder puppies; expected images, or folders"):
        load_images(str(tmp_path), 8)


def test_folders_beside_images_that_hold_none_do_not_matter(tmp_path):
    photograph(tmp_path / "cat/0.png")
    (tmp_path / "cat/notes").mkdir()
    (tmp_path / "cat/notes/0.txt").write_text("a cat")
    assert load_images(str(tmp_path), 8).names == ("cat/0.png",)


@pytest.mark.parametrize("name", ["._0.png", ".hidden.jpg", ".ipynb_checkpoints/0.png", "__MACOSX/._0.png"])
@pytest.mark.parametrize("folder", ["cat", "."])
def test_what_systems_hide_in_folders_is_no_image_and_no_class(tmp_path, folder, name):
    for kept in ("cat/0.png", "dog/1.png"):
        photograph(tmp_path / kept)
    hidden = tmp_path / folder / name
    hidden.parent.mkdir(exist_ok=True)
    hidden.write_bytes(b"\0\5\x16\7")
    found = load_images(str(tmp_path), 8)
    assert (found.names, found.label_names, found.left_out) == (("cat/0.png", "dog/1.png"), ("cat", "dog"), ())


@pytest.mark.parametrize("folder", ["", "cat"])
def test_files_with_other_endings_are_left_out_and_named(tmp_path, folder):
    for name in ("0.png", "1.jfif", "2.tga"):
        photograph(tmp_path / folder / f"{name}.png").rename(tmp_path / folder / name)
    found = load_images(str(tmp_path), 8)
    place = f"{folder}/" if folder else ""
    (sentence,) = found.left_out
    assert sentence == f"left out 2 files without an ending of an image that is read: {place}1.jfif, {place}2.tga"


def test_labels_of_an_npz_may_stand_in_a_column(tmp_path):
    images = np.zeros((3, 8, 8, 3), np.uint8)
    np.savez(tmp_path / "keras.npz", images=images, labels=np.array([[2], [0], [1]], np.uint8))
    assert load_images(str(tmp_path / "keras.npz"), 8).labels.tolist() == [2, 0, 1]


def test_what_only_looks_like_an_image_file_is_refused_and_may_be_left_out(tmp_path):
    photograph(tmp_path / "cat" / "a.png")
    os.mkfifo(tmp_path / "cat" / "b.png")  # which waits for a writer for ever
    (tmp_path / "cat" / "c.png").mkdir()
    (tmp_path / "cat" / "d.png").symlink_to("nowhere")
    with pytest.raises(RefusedInput, match=r"b\.png: is no file that can be read; expected an image"):
        load_images(str(tmp_path), 8)
    assert load_images(str(tmp_path), 8, skip_broken=True).broken == ("cat/b.png", "cat/c.png", "cat/d.png")


def test_folder_with_a_broken_image_is_refused_by_its_name(tmp_path):
    photograph(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    with pytest.raises(RefusedInput, match=r"b\.png: not a readable image"):
        load_images(str(tmp_path), 8)


@pytest.mark.parametrize("spec", ["nowhere", "cifar10:", "samples:3", "a.npz"])
def test_what_is_not_there_is_refused(tmp_path, monkeypatch, spec):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RefusedInput, match="no such file or folder"):
        load_images(spec, 8)


def test_empty_folder_and_limit_of_nothing_are_refused(tmp_path):
    with pytest.raises(RefusedInput, match="no images in this folder"):
        load_images(str(tmp_path), 8)
    with pytest.raises(RefusedInput, match="limit is 0; expected a positive number"):
        load_images("samples", 8, limit=0)


@pytest.mark.parametrize("side", [9_000, 40_000])
def test_enormous_image_is_refused_before_it_is_decoded(tmp_path, side):
    (tmp_path / "a.ppm").write_bytes(b"P6 %d %d 255\n" % (side, side))
    with pytest.raises(RefusedInput, match=r"a\.ppm.* pixels"):
        load_images(str(tmp_path / "a.ppm"), 8)


def test_samples_are_photographs_of_different_things():
    found = load_images("samples", 32)
    assert found.images.shape == (len(SAMPLES), 32, 32, 3)
    assert found.names == SAMPLES
    assert len({image.tobytes() for image in found.images}) == len(SAMPLES)


def test_image_is_cropped_to_its_central_square(tmp_path):
    wide = np.zeros((8, 24, 3), np.uint8)
    wide[:, 8:16] = 255  # the central square is white, what is left and right of it black
    Image.fromarray(wide).save(tmp_path / "a.png")
    assert (load_images(str(tmp_path / "a.png"), 8).images == 255).all()


def test_photograph_taken_upside_down_is_turned(tmp_path):
    pixels = np.zeros((8, 8, 3), np.uint8)
    pixels[:4] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # Orientation: rotated by 180 degrees
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(load_images(str(tmp_path / "a.png"), 8).images[0], pixels[::-1])


def test_hash_is_of_pixels_and_labels_wherever_they_come_from(tmp_path):
    _, _, written = records(4, 1)
    (tmp_path / "test_batch.bin").write_bytes(written)
    cifar = load_images(f"cifar10:{tmp_path}", 32)
    np.savez(tmp_path / "a.npz", images=cifar.images, labels=cifar.labels)
    np.savez(tmp_path / "b.npz", images=cifar.images, labels=cifar.labels[::-1])
    assert load_images(str(tmp_path / "a.npz"), 32).sha256 == cifar.sha256
    assert load_images(str(tmp_path / "b.npz"), 32).sha256 != cifar.sha256


ENCODED = {}
for _format in ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"):
    _buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)).save(_buffer, _format)
    ENCODED[_format.lower()] = _buffer.getvalue()


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # damaged metadata beside sound pixels
@settings(deadline=None)
@given(st.sampled_from(sorted(ENCODED)), st.data())
def test_damaged_image_is_read_or_refused_and_nothing_else(tmp_path_factory, suffix, data):
    damaged = bytearray(ENCODED[suffix])
    for position in data.draw(st.lists(st.integers(0, len(damaged) - 1), max_size=6)):
        damaged[position] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / f"a.{suffix}"
    path.write_bytes(damaged[: data.draw(st.integers(0, len(damaged)))])
    try:
        found = load_images(str(path), 8)
    except RefusedInput as refusal:
        assert path.name in str(refusal)  # noqa: PT017 (either outcome is right)
    else:
        assert found.images.shape == (1, 8, 8, 3)
