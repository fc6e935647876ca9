"""Data sets as torchvision and their authors keep them: small ones made by hand, each in the bytes of the real one."""

import pickle
import struct

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from spikeclip.data import load_images
from spikeclip.data.official_names import official_names
from spikeclip.errors import RefusedInput

RNG = np.random.default_rng(0)


def planes(images):
    """uint8 [N, 3072] of images [N, 32, 32, 3]: for each the R, G and B planes, row after row."""
    return np.stack([np.concatenate([image[:, :, c].ravel() for c in range(3)]) for image in images])


def pictures(n, height=32, width=32):
    return RNG.integers(0, 256, (n, height, width, 3), dtype=np.uint8)


def python2_pickle(data, labels):
    """What Python 2 and its numpy wrote: byte strings, and `numpy.core.multiarray._reconstruct`, opcode by opcode."""

    def text(value):
        return b"U" + bytes([len(value)]) + value

    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85" + text(b"b") + b"tR(K\x01"
        b"M" + struct.pack("<H", data.shape[0]) + b"M" + struct.pack("<H", data.shape[1]) + b"\x86"
        b"cnumpy\ndtype\n("
        + text(b"u1")
        + b"K\x00K\x01tR(K\x03"
        + text(b"|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
        b"K\x00tb\x89T" + struct.pack("<I", data.size) + data.tobytes() + b"tb"
    )
    numbers = b"](" + b"".join(b"K" + bytes([label]) for label in labels) + b"e"
    return b"\x80\x02}(" + text(b"batch_label") + text(b"testing batch 1 of 1") + text(b"labels") + numbers + (
        text(b"data") + array + b"u."
    )  # fmt: skip


def test_cifar10_as_torchvision_downloads_it_comes_back_as_it_was_written(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    images, labels = pictures(3), [3, 9, 0]
    (folder / "test_batch").write_bytes(python2_pickle(planes(images), labels))
    assert pickle.loads((folder / "test_batch").read_bytes(), encoding="latin1")["labels"] == labels  # a sound pickle
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij"), "num_vis": 3072}, 2))
    for spec in (f"cifar10:{tmp_path}", f"cifar10:{folder}:test"):
        found = load_images(spec, 32)
        np.testing.assert_array_equal(found.images, images)
        assert found.labels.tolist() == labels
        assert found.label_names == tuple("abcdefghij")


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", [list, np.array, lambda labels: list(np.array(labels))])
def test_cifar10_as_today_s_python_writes_it_is_read_in_every_protocol(tmp_path, protocol, kind):
    images = pictures(2)
    content = {b"data": planes(images), b"labels": kind([1, 7]), "filenames": [b"x.png", b""]}
    (tmp_path / "test_batch").write_bytes(pickle.dumps(content, protocol))
    found = load_images(f"cifar10:{tmp_path}", 32)
    np.testing.assert_array_equal(found.images, images)
    assert found.labels.tolist() == [1, 7]
    assert found.label_names == official_names("cifar10")
    assert found.names == ("test/0", "test/1")


def test_an_array_in_columns_is_read_by_its_order(tmp_path):
    images = pictures(5)
    data = np.asfortranarray(planes(images))
    for protocol in (2, 4, 5):
        (tmp_path / "test_batch").write_bytes(pickle.dumps({"data": data, "labels": [0] * 5}, protocol))
        np.testing.assert_array_equal(load_images(f"cifar10:{tmp_path}", 32).images, images)


def test_five_training_pickles_in_order_and_only_as_many_as_the_limit_takes(tmp_path):
    for i in range(1, 6):
        content = {b"data": planes(pictures(2)), b"labels": [i, i]}
        (tmp_path / f"data_batch_{i}").write_bytes(pickle.dumps(content, 4))
    assert load_images(f"cifar10:{tmp_path}:train", 32).labels.tolist() == [1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    (tmp_path / "data_batch_3").unlink()
    found = load_images(f"cifar10:{tmp_path}:train", 32, limit=3)
    assert found.labels.tolist() == [1, 1, 2]
    assert len(found.images) == len(found.names) == 3
    with pytest.raises(RefusedInput, match=r"data_batch_3: not found"):
        load_images(f"cifar10:{tmp_path}:train", 32)


def test_cifar100_as_torchvision_keeps_it_has_its_fine_labels(tmp_path):
    folder = tmp_path / "cifar-100-python"
    folder.mkdir()
    images = pictures(2)
    content = {b"data": planes(images), b"fine_labels": [99, 11], b"coarse_labels": [3, 0]}
    (folder / "train").write_bytes(pickle.dumps(content, 2))
    found = load_images(f"cifar100:{tmp_path}:train", 32)
    np.testing.assert_array_equal(found.images, images)
    assert [found.label_names[i] for i in found.labels] == ["worm", "boy"]
    names = [f"kind {i}".encode() for i in range(100)]
    (folder / "meta").write_bytes(pickle.dumps({b"fine_label_names": names}, 2))
    assert load_images(f"cifar100:{tmp_path}:train", 32).label_names[11] == "kind 11"


class Payload:
    """Creates a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_nothing_in_a_pickle_is_executed(tmp_path, protocol):
    content = {b"data": planes(pictures(1)), b"labels": [1], b"x": Payload(tmp_path / "made")}
    (tmp_path / "test_batch").write_bytes(pickle.dumps(content, protocol))
    with pytest.raises(RefusedInput, match=r"test_batch: the pickle wants to call \w+\.open; expected lists"):
        load_images(f"cifar10:{tmp_path}", 32)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "code",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"cbuiltins\neval\n(S'1'\ntR.",
        b"cnumpy\nload\n(S'x'\ntR.",
        b"cnumpy.core.multiarray\nfromfile\n(S'x'\ntR.",
        b"Vsomewhere\nQ.",
    ],
)
def test_a_name_that_no_array_needs_is_refused(tmp_path, code):
    (tmp_path / "test_batch").write_bytes(code)
    with pytest.raises(RefusedInput, match="the pickle wants to call"):
        load_images(f"cifar10:{tmp_path}", 32)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ([1, 2], "a pickle of list; expected a dictionary"),
        ({"labels": [1]}, r"data is NoneType; expected uint8 \[N, 3072\]"),
        ({"data": np.zeros((1, 3072), np.int16), "labels": [1]}, r"data is int16 \[1, 3072\]"),
        ({"data": np.zeros((1, 3071), np.uint8), "labels": [1]}, r"data is uint8 \[1, 3071\]"),
        ({"data": np.zeros((1, 3072), np.float32), "labels": [1]}, r"the pickle wants to call numpy.dtype of 'f4'"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [1]}, r"labels are int64 \[1\]; expected integers \[2\]"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": [0.5]}, "labels are float64"),
        ({"data": np.zeros((1, 3072), np.uint8)}, r"labels are float64 \[0\]"),
        ({"data": np.zeros((0, 3072), np.uint8), "labels": []}, r"labels are float64 \[0\]"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": [10]}, r"a label is 10 \(image 0\); cifar10 has 10 names"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": [-1]}, r"a label is -1 \(image 0\)"),
    ],
)
def test_pickles_with_other_contents_are_refused(tmp_path, content, sentence):
    (tmp_path / "test_batch").write_bytes(pickle.dumps(content, 4))
    with pytest.raises(RefusedInput, match=sentence):
        load_images(f"cifar10:{tmp_path}", 32)


def test_a_pickle_cut_anywhere_is_refused(tmp_path):
    whole = python2_pickle(planes(pictures(1)), [4])
    for length in [*range(0, 230, 3), *range(230, len(whole), 300)]:
        (tmp_path / "test_batch").write_bytes(whole[:length])
        with pytest.raises(RefusedInput, match="test_batch: "):
            load_images(f"cifar10:{tmp_path}", 32)


def test_damaged_pickles_are_read_or_refused_and_nothing_else(tmp_path):
    whole = bytearray(pickle.dumps({"data": planes(pictures(1)), "labels": [4]}, 2))
    rng = np.random.default_rng(1)
    outcomes = set()
    for _ in range(400):
        damaged = whole.copy()
        for place in rng.integers(0, 160, 2):
            damaged[place] = rng.integers(256)
        (tmp_path / "test_batch").write_bytes(damaged)
        try:
            outcomes.add(load_images(f"cifar10:{tmp_path}", 32).images.shape)
        except RefusedInput:
            outcomes.add("refused")
    assert outcomes == {"refused", (1, 32, 32, 3)}


def stl10(folder, split, images, labels):
    """The official binary: each channel column by column, labels from 1."""
    folder.mkdir(exist_ok=True)
    written = b"".join(image[:, :, c].T.tobytes() for image in images for c in range(3))
    (folder / f"{split}_X.bin").write_bytes(written)
    if labels is not None:
        (folder / f"{split}_y.bin").write_bytes(bytes(labels))


def test_stl10_is_read_column_by_column_with_labels_from_1(tmp_path):
    images = pictures(3, 96, 96)
    stl10(tmp_path / "stl10_binary", "test", images, [1, 10, 8])
    stl10(tmp_path / "stl10_binary", "train", images[::-1], [2, 2, 2])
    found = load_images(f"stl10:{tmp_path}", 96)
    np.testing.assert_array_equal(found.images, images)
    assert [found.label_names[i] for i in found.labels] == ["airplane", "truck", "monkey"]
    train = load_images(f"stl10:{tmp_path / 'stl10_binary'}:train", 96, limit=2)
    np.testing.assert_array_equal(train.images, images[:0:-1])
    assert train.labels.tolist() == [1, 1]


def test_stl10_unlabelled_images_have_no_labels_and_names_of_a_file_count(tmp_path):
    stl10(tmp_path, "unlabeled", pictures(2, 96, 96), None)
    assert load_images(f"stl10:{tmp_path}:unlabeled", 32).labels is None
    stl10(tmp_path, "test", pictures(1, 96, 96), [2])
    (tmp_path / "class_names.txt").write_text("airplane\nyellow bird\n")
    found = load_images(f"stl10:{tmp_path}", 32)
    assert found.label_names[found.labels[0]] == "yellow bird"
    assert found.images.shape == (1, 32, 32, 3)


@pytest.mark.parametrize(
    ("labels", "cut", "sentence"),
    [
        ([0, 1], None, r"test_y\.bin: a label is 0; expected 1 to 10"),
        ([1, 11], None, r"test_y\.bin: a label is 10 \(image 1\); STL-10 has 10 names"),
        ([1], None, r"test_y\.bin: 1 labels; expected one for each of 2 images"),
        ([1, 2], -1, r"test_X\.bin: 55295 bytes; expected a multiple of 27648"),
        ([1, 2], 0, r"test_X\.bin: 0 bytes"),
    ],
)
def test_stl10_with_other_bytes_is_refused(tmp_path, labels, cut, sentence):
    stl10(tmp_path, "test", pictures(2, 96, 96), labels)
    if cut is not None:
        (tmp_path / "test_X.bin").write_bytes((tmp_path / "test_X.bin").read_bytes()[:cut])
    with pytest.raises(RefusedInput, match=sentence):
        load_images(f"stl10:{tmp_path}", 32)


def save(path, colour, size=(21, 13)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path, quality=100, subsampling=0)


def flowers(root):
    """Seven flowers; image i is of flower 2 i - 1, and as red as its number."""
    for i in range(1, 8):
        save(root / "jpg" / f"image_{i:05d}.jpg", (20 * i, 0, 0))
    savemat(root / "imagelabels.mat", {"labels": np.array([[2 * i - 1 for i in range(1, 8)]], np.uint8)})
    savemat(root / "setid.mat", {"trnid": [[5, 1]], "valid": [[7]], "tstid": np.array([[6, 2, 3]], np.uint16)})


def test_flowers102_by_the_splits_of_its_authors(tmp_path):
    flowers(tmp_path / "flowers-102")
    found = load_images(f"flowers102:{tmp_path}", 8)
    assert found.names == ("jpg/image_00006.jpg", "jpg/image_00002.jpg", "jpg/image_00003.jpg")
    assert found.labels.tolist() == [10, 2, 4]
    assert [found.label_names[i] for i in found.labels] == ["snapdragon", "canterbury bells", "english marigold"]
    assert [int(image[4, 4, 0]) for image in found.images] == pytest.approx([120, 40, 60], abs=3)
    assert load_images(f"flowers102:{tmp_path / 'flowers-102'}:train", 8).names[0] == "jpg/image_00005.jpg"
    assert load_images(f"flowers102:{tmp_path}:val", 8).labels.tolist() == [12]
    assert load_images(f"flowers102:{tmp_path}:test", 8, limit=1).labels.tolist() == [10]


@pytest.mark.parametrize(
    ("file", "content", "sentence"),
    [
        ("setid.mat", {"tstid": [[8]]}, r"setid\.mat: tstid has image 8"),
        ("setid.mat", {"tstid": [[0]]}, r"setid\.mat: tstid has image 0"),
        ("setid.mat", {"trnid": [[1]]}, r"setid\.mat: no numbers under 'tstid'"),
        ("imagelabels.mat", {"labels": [[103] * 7]}, r"a label is 102 \(image 0\); Flowers102 has 102 names"),
        ("imagelabels.mat", {"labels": ["roses"]}, r"imagelabels\.mat: no numbers under 'labels'"),
        ("imagelabels.mat", None, r"imagelabels\.mat: not a readable MATLAB file"),
    ],
)
def test_flowers102_with_other_contents_is_refused(tmp_path, file, content, sentence):
    flowers(tmp_path)
    if content is None:
        (tmp_path / file).write_bytes(b"not a MATLAB file")
    else:
        savemat(tmp_path / file, content)
    with pytest.raises(RefusedInput, match=sentence):
        load_images(f"flowers102:{tmp_path}", 8)


PETS = """#Image CLASS-ID SPECIES BREED ID
Abyssinian_201 1 1 1
american_pit_bull_terrier_3 3 2 2
Abyssinian_9 1 1 1
american_bulldog_10 2 2 1
"""


def test_pets_by_their_lists_with_breeds_from_the_names_of_the_images(tmp_path):
    root = tmp_path / "oxford-iiit-pet"
    (root / "annotations").mkdir(parents=True)
    (root / "annotations" / "test.txt").write_text(PETS)
    (root / "annotations" / "trainval.txt").write_text("\n".join(PETS.splitlines()[1::2]) + "\n")
    for line in PETS.splitlines()[1:]:
        save(root / "images" / f"{line.split()[0]}.jpg", (9, 9, 9))
    found = load_images(f"pets:{tmp_path}", 8)
    assert found.label_names == ("Abyssinian", "american bulldog", "american pit bull terrier")
    assert found.labels.tolist() == [0, 2, 0, 1]
    assert found.names[1] == "images/american_pit_bull_terrier_3.jpg"
    assert load_images(f"pets:{root}:trainval", 8).labels.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        ("Abyssinian 1 1 1", r"'Abyssinian 1 1 1'; expected lines as 'Maine_Coon_39"),
        ("Abyssinian_1 one 1 1", "expected lines as"),
        ("Abyssinian_1 0 1 1", "expected lines as"),
        ("Abyssinian_1", "expected lines as"),
        ("Abyssinian_1 1 1 1\nBengal_1 1 1 2", "class 1 is Abyssinian and Bengal"),
        ("Abyssinian_1 1 1 1\nBengal_1 3 1 2", r"images of the classes \[1, 3\]; expected 1, 2, 3"),
        ("", r"images of the classes \[\]"),
    ],
)
def test_lists_of_pets_with_other_lines_are_refused(tmp_path, lines, sentence):
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "test.txt").write_text(lines)
    with pytest.raises(RefusedInput, match=sentence):
        load_images(f"pets:{tmp_path}", 8)


def test_caltech101_without_its_backgrounds(tmp_path):
    folder = tmp_path / "caltech101" / "101_ObjectCategories"
    for name in ("ant", "BACKGROUND_Google", "Faces_easy"):
        save(folder / name / "image_0001.jpg", (1, 2, 3))
    save(folder / "ant" / "image_0002.jpg", (1, 2, 3))
    for place in (tmp_path, folder.parent, folder):
        found = load_images(f"caltech101:{place}", 8)
        assert found.label_names == ("Faces_easy", "ant")
        assert found.names == ("Faces_easy/image_0001.jpg", "ant/image_0001.jpg", "ant/image_0002.jpg")
        assert found.labels.tolist() == [0, 1, 1]
    assert len(load_images(str(folder), 8).label_names) == 3  # a folder is what it is


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ("stl10:@", r"test_X\.bin: not found; expected STL-10's binary files"),
        ("flowers102:@", r"setid\.mat: not found; expected Flowers102"),
        ("pets:@:trainval", r"trainval\.txt: not found; expected the Oxford pets"),
        ("caltech101:@/none", r"none: no such folder"),
        ("caltech101:@", "no images in this folder"),
        ("cifar10:@:valid", "split 'valid'; expected train or test"),
        ("stl10:@:extra", "split 'extra'; expected train or test or unlabeled"),
        ("caltech101:@:test", "split 'test'; expected none"),
        ("mnist:@", "no such file or folder; expected .* cifar10, cifar100, stl10, flowers102, pets, caltech101"),
    ],
)
def test_what_is_not_there_is_refused(tmp_path, spec, sentence):
    with pytest.raises(RefusedInput, match=sentence):
        load_images(spec.replace("@", str(tmp_path)), 8)


def test_official_names_are_as_many_as_the_classes_and_all_different():
    for kind, classes in (("cifar10", 10), ("cifar100", 100), ("stl10", 10), ("flowers102", 102)):
        assert len(set(official_names(kind))) == classes
    assert [official_names("cifar100")[i] for i in (0, 54, 57, 99)] == ["apple", "orchid", "pear", "worm"]
    assert [official_names("flowers102")[i - 1] for i in (1, 54, 77, 102)] == [
        "pink primrose", "sunflower", "passion flower", "blackberry lily",
    ]  # fmt: skip


def test_a_listed_file_that_is_no_image_is_refused_by_its_name(tmp_path):
    flowers(tmp_path)
    (tmp_path / "jpg" / "image_00002.jpg").write_bytes(b"no jpeg")
    with pytest.raises(RefusedInput, match=r"image_00002\.jpg: not a readable image"):
        load_images(f"flowers102:{tmp_path}", 8)
