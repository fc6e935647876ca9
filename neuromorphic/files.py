"""Writes files: their paths are checked before anything is computed, and they are written whole or not at all.

Every file of this project is written through here; errors of the system become a `RefusedInput` (`atomic`).  A file is
made apart and put in its place when it is complete, so that readers find the old one or the new one; a failure leaves
the old one, and nothing else.
"""

import errno
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from io import BufferedRandom, BytesIO
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

from neuromorphic.errors import RefusedInput

LINKS = 40
"""Links in a row that a system follows."""

SUFFIXES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        **dict.fromkeys(("--json", "--neurobench", "--placement"), (".json", "")),
        **dict.fromkeys(("--csv", "--per-image"), (".csv", "")),
        "--html": (".html", ".htm", ""),
        "--svg": (".svg", ""),
        "--save-quantized": (".nir", ""),
        "--save-onnx": (".onnx", ""),
        "--netx": (".net", ""),
    }
)
"""By option of any command: the suffixes that the name of its file may have; "" is a name without one."""

RESULTS = frozenset({".json", ".html", ".htm", ".svg", ".nir", ".onnx"})
"""Ends of names of files that no folder is read for: results of an earlier run may lie there."""

NO_IMAGES = RESULTS | {".npz", ".npy", ".h5", ".hdf5", ".csv", ".safetensors", ".pdf"}
"""The same for a folder of images, which a SPEC names."""

PARTIAL = ".partial"
"""The suffix of a file while it is made, where it needs a name."""


def check_outputs(
    outputs: Mapping[str, Path | None],
    inputs: Iterable[Path | str | None] = (),
    suffixes: Mapping[str, tuple[str, ...]] | None = None,
    folders: Mapping[str, Path | None] = MappingProxyType({}),
    kept: Iterable[Path | None] = (),
) -> None:
    """Refuse paths that can't be written, or that would replace an input, before any work is done.

    Args:
        outputs: paths by their option; None for those that are not asked for.
        inputs: files and folders that are read, by any path or link; texts may have more before and after colons
            (`FILE.npz:KEY`, `cifar10:DIR:test`), and their folders are those of images.
        suffixes: by option, in addition to `SUFFIXES`, or in place of them.
        folders: for files, made where they don't exist yet, by their option (`check_folder`).
        kept: folders in which no file may be replaced.

    Raises:
        RefusedInput: a folder is missing or can't be written, a name is that of a folder or a device or ends in another
            suffix, or two of the files are one.
    """
    kept = list(kept)
    read = _read([each for each in inputs if each is not None], outputs.values(), kept)
    written: dict[object, str] = {}
    whole_folders = {_identity(folder): str(folder) for folder in kept if folder is not None}
    for option, folder in folders.items():
        if folder is None:
            continue
        check_folder(option, folder)
        same = _identity(folder)
        if same in whole_folders:
            raise RefusedInput(f"{option} {folder}: is the input {whole_folders[same]}; expected another folder")
        written[same] = option
    for option, path in outputs.items():
        if path is None:
            continue
        try:
            _check_place(option, path)
        except OSError as error:
            raise RefusedInput(f"{option} {path}: is no name for a file ({error.strerror})") from error
        same = _identity(path)
        if same in read:
            raise RefusedInput(f"{option} {path}: is the input {read[same]}; expected another file")
        if same in written:
            raise RefusedInput(f"{option} {path}: {written[same]} writes the same file; expected another")
        written[same] = option
        expected = {**SUFFIXES, **(suffixes or {})}.get(option, ())
        if expected and path.suffix.lower() not in expected:
            raise RefusedInput(f"{option} {path}: expected a name that ends in {' or '.join(filter(None, expected))}")


def check_folder(option: str, folder: Path) -> None:
    """Refuse a path at which no folder can be made, or whose folder can't be written.

    Raises:
        RefusedInput: a file is there, the folder above is missing, the folder or that above can't be written, or the
            name is that of a file (`SUFFIXES`).
    """
    if folder.is_dir():
        if not os.access(folder, os.W_OK | os.X_OK):
            raise RefusedInput(f"{option} {folder}: can't be written")
        return
    if folder.exists():
        raise RefusedInput(f"{option} {folder}: is a file; expected a folder, or nothing yet")
    _check_above(option, folder)
    if folder.suffix and any(folder.suffix.lower() in endings for endings in SUFFIXES.values()):
        raise RefusedInput(f"{option} {folder}: would be a folder; expected a name that doesn't end in {folder.suffix}")


def sha256_of(path: Path) -> str:
    """The hash of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read(inputs: list[Path | str], outputs: Iterable[Path | None], kept: Iterable[Path | None]) -> dict[object, str]:
    """By identity, the files that are read; those of folders only where an output is there that may be one of them."""
    places = [(place, NO_IMAGES if isinstance(each, str) else RESULTS) for each in inputs for place in _places(each)]
    found = {_identity(place): str(place) for place, _ in places if _is_file(place)}
    if any(path is not None and _is_file(path) for path in outputs):
        whole_folders = [(folder, frozenset[str]()) for folder in kept if folder is not None]
        for folder, free in (*places, *whole_folders):
            found |= {_identity(path): str(path) for path in _within(folder) if path.suffix.lower() not in free}
    return found


def _places(spec: Path | str) -> list[Path]:
    """The files and folders that may be meant by the name of an input: what stands between colons, or has some."""
    if isinstance(spec, Path):
        return [spec]
    words = spec.split(":")
    names = (":".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, len(words) + 1))
    return [Path(name) for name in names if name]


def _within(folder: Path) -> Iterator[Path]:
    """All files in a folder and in those in it, if it is one; of links, where they lead."""
    for above, _, names in os.walk(folder):
        for name in names:
            path = Path(above, name)
            if _is_file(path):
                yield path.resolve()


def _is_file(path: Path) -> bool:
    """Whether a file is there; a name that none can have is that of none."""
    try:
        return path.is_file()
    except OSError:
        return False


def _check_place(option: str, path: Path) -> None:
    if not path.name or path.is_dir():
        raise RefusedInput(f"{option} {str(path)!r}: is a folder; expected a file")
    if (path.exists() and not path.is_file()) or _leads_to_an_open_file(path):
        raise RefusedInput(f"{option} {path}: is no ordinary file; expected one")
    _check_above(option, path)


def _check_above(option: str, path: Path) -> None:
    folder = path.resolve().parent
    if not folder.is_dir():
        raise RefusedInput(f"{option} {path}: its folder does not exist")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise RefusedInput(f"{option} {path}: its folder can't be written")


def _leads_to_an_open_file(path: Path) -> bool:
    """Whether a path, as /dev/stdout, leads to a file that this process has open; also if its links form a circle.

    An ordinary file would be replaced while something writes to it.
    """
    for _ in range(LINKS):
        path = path.parent.resolve() / path.name
        if path.is_relative_to("/proc"):
            return True
        if not path.is_symlink():
            return False
        path = path.parent / path.readlink()
    return True


def _identity(path: Path) -> object:
    """A key that is equal for two paths of one file; if the file exists, also for two links to it."""
    try:
        found = path.stat()
    except OSError:
        return path.resolve()
    return found.st_dev, found.st_ino


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A path to write to; the file there replaces `path` at the end of the block, unless something is raised.

    Where the system allows it, the file has no name until it is complete, so that not even a `kill -9` leaves half a
    file.  Elsewhere it is made beside `path`.  A link at `path` stays, and the file that it leads to is replaced.

    Raises:
        RefusedInput: the system refuses: the disk is full, the folder is gone, the file is too large.
    """
    target = path.resolve()
    partial = target.with_name(f"{target.name}.{os.getpid()}{PARTIAL}")
    try:
        nameless = _nameless(target.parent)
        if nameless is None:
            yield partial
        else:
            with nameless as file:
                place = f"/proc/self/fd/{file.fileno()}"
                yield Path(place)
                # With any folder for its first path, `link` follows that, a link itself, to the file without a name.
                os.link(place, partial, src_dir_fd=file.fileno())
        partial.replace(target)
    except OSError as error:
        raise RefusedInput(f"{path}: can't be written ({error.strerror or error})") from error
    finally:
        partial.unlink(missing_ok=True)


def _nameless(folder: Path) -> BufferedRandom | None:
    """A file without a name on the disk of `folder`, which vanishes with this process; None if the system has none."""
    try:
        return os.fdopen(os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o666), "w+b")
    except (AttributeError, IsADirectoryError, NotADirectoryError):
        return None
    except OSError as error:
        if error.errno == errno.EOPNOTSUPP:
            return None
        raise


@contextmanager
def all_written(told: Callable[..., None] = lambda *paths: None) -> Iterator[Callable[..., None]]:
    """Write several files, the others too where one can't be: `write(path, how)` calls `how(path)`, None for nothing.

    Args:
        told: the files that were written, before what refuses the others is raised.

    Raises:
        RefusedInput: of all that can't be written.
    """
    done: list[Path] = []
    refused: list[str] = []

    def write(path: Path | None, how: Callable[[Path], None]) -> None:
        if path is None:
            return
        try:
            how(path)
        except RefusedInput as error:
            refused.append(str(error))
        else:
            done.append(path)

    yield write
    told(*done)
    if refused:
        raise RefusedInput("; ".join(refused))


@contextmanager
def in_memory(path: Path) -> Iterator[BytesIO]:
    """A file in memory that is written to `path` at the end of the block, unless something is raised.

    For HDF5, whose library crashes the process when a disk fills up.
    """
    buffer = BytesIO()
    yield buffer
    write_bytes(path, buffer.getbuffer())


def reserve(file: IO[bytes], size: int) -> None:
    """Let the system reserve `size` bytes for a file, if it can.

    Raises:
        OSError: the disk has no room for them.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)


def write_bytes(path: Path, data: bytes | memoryview) -> None:
    """Write `data`, whole or not at all."""
    with atomic(path) as partial, partial.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def write_text(path: Path, text: str) -> None:
    """Write `text` in UTF-8, whole or not at all; what is no text, as bytes of a name, stands escaped."""
    write_bytes(path, text.encode(errors="backslashreplace"))


def write_json(path: Path, document: Any) -> None:
    """Write a JSON-compatible `document`, whole or not at all."""
    write_text(path, json.dumps(document, indent=2) + "\n")
