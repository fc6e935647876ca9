"""Images from where people keep them: CIFAR's binary files, `.npz`, a file, a folder, or sample photographs.  No torch.

A SPEC is what the commands take for images:

    cifar10:DIR[:train|:test]   the official binary layout, in DIR or DIR/cifar-10-batches-bin (default :test)
    cifar100:DIR[:train|:test]  likewise, DIR/cifar-100-binary
    FILE.npz                    `images` uint8 [N, H, W, 3], optionally `labels` [N] and `label_names`
    FILE                        one image that Pillow reads
    DIR                         a folder of images; sub-folders are classes
    samples                     photographs that scikit-image carries in its wheel
"""

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from spikeclip.errors import RefusedInput, first_line
from spikeclip.preprocess import square

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm"})

SAMPLES = (
    "astronaut.png",
    "camera.png",
    "chelsea.png",
    "coffee.png",
    "hubble_deep_field.jpg",
    "motorcycle_left.png",
    "rocket.jpg",
    "horse.png",
)
"""Photographs (and one drawing, the horse) in scikit-image's wheel; all are free to use (its data/README.txt)."""

MAX_PIXELS = 64 * 1024 * 1024
"""Images beyond this are refused before they are decoded."""


@dataclass(frozen=True)
class ImageSet:
    """Images of one size with what is known of them.

    Attributes:
        images: uint8 `[N, H, W, 3]`.
        names: one per image: file name, or `test/17` for the record of a binary file.
        labels: int64 `[N]`, or None where the source has none.
        label_names: names that the labels index; empty where the source has none.
        source: the SPEC that they came from.
    """

    images: NDArray[np.uint8]
    names: tuple[str, ...]
    labels: NDArray[np.int64] | None
    label_names: tuple[str, ...]
    source: str

    def __len__(self) -> int:
        return len(self.images)

    @property
    def sha256(self) -> str:
        """Hash of pixels and labels, independent of where they were read from."""
        digest = hashlib.sha256(np.ascontiguousarray(self.images).tobytes())
        if self.labels is not None:
            digest.update(self.labels.astype("<i8").tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class _BinaryLayout:
    """Where a CIFAR data set keeps what: records are label bytes, then the R, G and B planes of a 32×32 image."""

    folder: str
    files: dict[str, tuple[str, ...]]
    label_bytes: int
    names_file: str


_CIFAR = {
    "cifar10": _BinaryLayout(
        "cifar-10-batches-bin",
        {"train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)), "test": ("test_batch.bin",)},
        1,
        "batches.meta.txt",
    ),
    "cifar100": _BinaryLayout(
        "cifar-100-binary", {"train": ("train.bin",), "test": ("test.bin",)}, 2, "fine_label_names.txt"
    ),
}


def load_images(spec: str, size: int, limit: int | None = None) -> ImageSet:
    """The images that `spec` names, each cropped to its central square and resized to `size`.

    Args:
        spec: see the module's docstring.
        size: height and width of the result in pixels.
        limit: take only the first so many.

    Raises:
        RefusedInput: nothing is there, or a file is broken or of another layout.
    """
    if limit is not None and limit < 1:
        raise RefusedInput(f"limit is {limit}; expected a positive number of images")
    kind, _, rest = spec.partition(":")
    if kind in _CIFAR and rest:
        return _resized(_load_cifar(kind, rest, spec, limit), size)
    if spec == "samples":
        folder = resources.files("skimage") / "data"
        return _from_files([Path(str(folder / name)) for name in SAMPLES[:limit]], None, (), spec, size)
    path = Path(spec)
    if path.is_dir():
        return _load_folder(path, spec, size, limit)
    if not path.is_file():
        raise RefusedInput(
            f"images {spec!r}: no such file or folder; expected an .npz, an image, a folder, "
            "cifar10:DIR[:train|:test], cifar100:DIR[:train|:test] or 'samples'"
        )
    if path.suffix == ".npz":
        return _resized(_load_npz(path, spec, limit), size)
    return _from_files([path], None, (), spec, size)


def _load_cifar(kind: str, rest: str, spec: str, limit: int | None) -> ImageSet:
    layout = _CIFAR[kind]
    directory, _, split = rest.rpartition(":")
    if split not in layout.files:
        directory, split = rest, "test"
    root = Path(directory)
    if not (root / layout.files[split][0]).is_file():
        root = root / layout.folder
    record = layout.label_bytes + 3 * 32 * 32
    records = []
    for name in layout.files[split]:
        if limit is not None and sum(map(len, records)) >= limit:
            break
        file = root / name
        if not file.is_file():
            raise RefusedInput(f"{file}: not found; expected {kind} in its official binary layout")
        data = np.fromfile(file, np.uint8)
        if not len(data) or len(data) % record:
            raise RefusedInput(f"{file}: {len(data)} bytes; expected a multiple of {record}, the size of a record")
        records.append(data.reshape(-1, record))
    table = np.concatenate(records)[:limit]
    labels = table[:, layout.label_bytes - 1].astype(np.int64)
    images = table[:, layout.label_bytes :].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    names_path = root / layout.names_file
    label_names = tuple(names_path.read_text().split()) if names_path.is_file() else ()
    if label_names and labels.max() >= len(label_names):
        raise RefusedInput(f"{root}: a label is {labels.max()}; {names_path.name} has {len(label_names)} names")
    return ImageSet(images, tuple(f"{split}/{i}" for i in range(len(images))), labels, label_names, spec)


def _load_npz(path: Path, spec: str, limit: int | None) -> ImageSet:
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            if "images" not in file:
                raise RefusedInput(f"{path}: has {', '.join(file.files) or 'nothing'}; expected an array 'images'")
            images = file["images"]
            labels = file.get("labels")
            label_names = tuple(str(n) for n in file["label_names"]) if "label_names" in file else ()
    except RefusedInput:
        raise
    except Exception as error:  # zipfile, zlib and numpy raise whatever a damaged file leads them to
        raise RefusedInput(f"{path}: not a readable .npz file ({first_line(error)})") from error
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or not len(images):
        raise RefusedInput(f"{path}: images are {images.dtype} {list(images.shape)}; expected uint8 [N, H, W, 3]")
    if labels is not None:
        if labels.shape != images.shape[:1] or not np.issubdtype(labels.dtype, np.integer) or labels.min() < 0:
            raise RefusedInput(
                f"{path}: labels are {labels.dtype} {list(labels.shape)}; expected integers [{len(images)}]"
            )
        if label_names and labels.max() >= len(label_names):
            raise RefusedInput(f"{path}: a label is {labels.max()}; label_names has {len(label_names)} entries")
        labels = labels[:limit].astype(np.int64)
    images = images[:limit]
    return ImageSet(images, tuple(f"{path.stem}/{i}" for i in range(len(images))), labels, label_names, spec)


def _load_folder(root: Path, spec: str, size: int, limit: int | None) -> ImageSet:
    classes = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    if classes and any(p.suffix.lower() in IMAGE_SUFFIXES for p in root.iterdir() if p.is_file()):
        raise RefusedInput(f"{root}: holds images and the folder {classes[0]}; expected images, or folders of images")
    folders = [root / c for c in classes] if classes else [root]
    found = [sorted(p for p in f.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES) for f in folders]
    empty = [f for f, group in zip(folders, found, strict=True) if not group]
    if classes and empty and len(empty) < len(folders):
        raise RefusedInput(f"{empty[0]}: no images in this class folder; expected {', '.join(sorted(IMAGE_SUFFIXES))}")
    files = [p for group in found for p in group][:limit]
    if not files:
        raise RefusedInput(f"{root}: no images in this folder; expected {', '.join(sorted(IMAGE_SUFFIXES))}")
    labels = [i for i, group in enumerate(found) for _ in group][:limit] if classes else None
    return _from_files(files, labels, tuple(classes), spec, size)


def _from_files(
    files: list[Path], labels: list[int] | None, label_names: tuple[str, ...], spec: str, size: int
) -> ImageSet:
    images = np.stack([_read_image(file, size) for file in files])
    array = None if labels is None else np.asarray(labels, np.int64)
    return ImageSet(images, tuple(file.name for file in files), array, label_names, spec)


def _read_image(file: Path, size: int) -> NDArray[np.uint8]:
    try:
        with Image.open(file) as image:
            if image.width * image.height > MAX_PIXELS:
                raise RefusedInput(f"{file}: {image.width} x {image.height} pixels; expected at most {MAX_PIXELS}")
            return square(image, size)
    except RefusedInput:
        raise
    except Exception as error:  # Pillow raises whatever a damaged file leads it to: OSError, ValueError, EOFError, ...
        raise RefusedInput(f"{file}: not a readable image ({first_line(error)})") from error


def _resized(found: ImageSet, size: int) -> ImageSet:
    if found.images.shape[1:3] == (size, size):
        return found
    images = np.stack([square(Image.fromarray(image), size) for image in found.images])
    return ImageSet(images, found.names, found.labels, found.label_names, found.source)
