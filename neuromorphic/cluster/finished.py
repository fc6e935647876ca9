"""`--resume FOLDER` keeps finished shards there, so that a run that ended early can continue.

    FOLDER/manifest.json    all that the results depend on, with hashes, and the images of each shard
    FOLDER/00000.npz        the result of the first shard (`packing`) and the manifest's hash, and so on

A folder belongs to one run, of the same code, graph, data and settings.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Generic, TypeVar

from neuromorphic.cluster.packing import pack, unpack
from neuromorphic.cluster.versions import versions
from neuromorphic.errors import RefusedInput, shown
from neuromorphic.files import sha256_of, write_bytes, write_json

R = TypeVar("R")

MANIFEST = "manifest.json"


def always(number: int, result: Any) -> bool:
    """True: a result that depends on no files is always valid."""
    return True


@dataclass(frozen=True)
class Finished(Generic[R]):
    """The finished shards of a run.

    Attributes:
        folder: that holds them.
        classes: of records in the results.
        stands: whether the result of a shard, given with its number, is still valid: whether files that it names exist.
    """

    folder: Path
    classes: Sequence[type] = ()
    stands: Callable[[int, R], bool] = field(default=always)

    def open(self, settings: Mapping[str, Any], shards: Sequence[slice]) -> None:
        """Make the folder, or check that it is of the same run.

        `settings` are all that the results depend on, JSON-compatible, with hashes of files.

        Raises:
            RefusedInput: the folder is another run's, or can't be made or read.
        """
        expected = {
            "format_version": 1,
            **{f"version of {name}": found for name, found in versions().items()},
            **settings,
            "shards": [[part.start, part.stop] for part in shards],
        }
        path = self.folder / MANIFEST
        if path.exists():
            found = _read(path)
            for key in (*expected, *found):
                if found.get(key) != expected.get(key):
                    raise RefusedInput(
                        f"{self.folder}: holds shards of another run: {key!r} is {shown(found.get(key))} there and "
                        f"{shown(expected.get(key))} here; expected the same run, or another folder"
                    )
            return
        if self.folder.exists() and (not self.folder.is_dir() or any(self.folder.iterdir())):
            raise RefusedInput(f"--resume {self.folder}: expected a new or an empty folder, or an earlier run's")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RefusedInput(f"--resume {self.folder}: can't be made ({error.strerror})") from error
        write_json(path, expected)

    def get(self, number: int) -> R | None:
        """The result of a shard; None if it isn't finished.

        Raises:
            RefusedInput: its file is damaged.
        """
        path = self._file(number)
        if not path.exists():
            return None
        try:
            run, result = unpack(path.read_bytes(), {kind.__name__: kind for kind in self.classes})
        except (OSError, ValueError, TypeError) as error:
            raise RefusedInput(
                f"{path}: not a readable result of a shard ({shown(str(error))}); delete it, and the shard is run again"
            ) from error
        if run != self._run:
            raise RefusedInput(f"{path}: the result of a shard of another run; delete it, and the shard is run again")
        return result if self.stands(number, result) else None

    def put(self, number: int, result: R) -> None:
        """Keep the result of a shard.

        Raises:
            RefusedInput: the system refuses.
        """
        write_bytes(self._file(number), pack((self._run, result)))

    @cached_property
    def _run(self) -> str:
        """The hash of the manifest, by which a result tells its run."""
        return sha256_of(self.folder / MANIFEST)

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:05d}.npz"


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise RefusedInput(f"{path}: not a readable manifest ({shown(str(error))})") from error
    if not isinstance(found, dict):
        raise RefusedInput(f"{path}: holds {shown(found)}; expected a manifest of a run")
    return found
