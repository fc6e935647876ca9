"""Writes files: their paths are checked before anything is computed, and they are written whole or not at all.

Every file of this project is written through here; errors of the system become a `RefusedInput` (`atomic`).  A file is
made apart and put in its place when it is complete, so that readers find the old one or the new one; a failure leaves
the old one, and nothing else.
"""

import errno
import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Mapping
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

PARTIAL = ".partial"
"""The suffix of a file while it is made, where it needs a name."""


def check_outputs(
    outputs: Mapping[str, Path | None],
    inputs: Iterable[Path | str | None] = (),
    suffixes: Mapping[str, tuple[str, ...]] | None = None,
) -> None:
    """Refuse paths that can't be written, or that would replace an input, before any work is done.

    Args:
        outputs: paths by their option; None for those that are not asked for.
        inputs: files that are read, by any path or link; texts may continue after a colon (`FILE.npz:KEY`).
        suffixes: by option, in addition to `SUFFIXES`, or in place of them.

    Raises:
        RefusedInput: a folder is missing or can't be written, a name is that of a folder or a device or ends in another
            suffix, or two of the files are one.
    """
    read = {_identity(path): str(path) for each in inputs if each is not None for path in _files(each)}
    written: dict[object, str] = {}
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
    """Refuse a path at which no folder can be made.

    Raises:
        RefusedInput: a file is there, the folder above is missing, or the name is that of a file (`SUFFIXES`).
    """
    if folder.is_dir():
        return
    if folder.exists():
        raise RefusedInput(f"{option} {folder}: is a file; expected a folder, or nothing yet")
    if not folder.resolve().parent.is_dir():
        raise RefusedInput(f"{option} {folder}: its folder does not exist")
    if folder.suffix and any(folder.suffix.lower() in endings for endings in SUFFIXES.values()):
        raise RefusedInput(f"{option} {folder}: would be a folder; expected a name that doesn't end in {folder.suffix}")


def sha256_of(path: Path) -> str:
    """The hash of a file, 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(spec: Path | str) -> list[Path]:
    """The files that the text of an input may name."""
    names = [spec] if isinstance(spec, Path) else [spec, spec.partition(":")[0], spec.partition(":")[2]]
    return [Path(name) for name in names if str(name) and Path(name).is_file()]


def _check_place(option: str, path: Path) -> None:
    if not path.name or path.is_dir():
        raise RefusedInput(f"{option} {str(path)!r}: is a folder; expected a file")
    if (path.exists() and not path.is_file()) or _leads_to_an_open_file(path):
        raise RefusedInput(f"{option} {path}: is no ordinary file; expected one")
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
    """Write `text` in UTF-8, whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: Path, document: Any) -> None:
    """Write a JSON-compatible `document`, whole or not at all."""
    write_text(path, json.dumps(document, indent=2) + "\n")
