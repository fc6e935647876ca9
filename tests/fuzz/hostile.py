"""Files that were made to do harm: each a change to a good `.nir` file, by name.

They change what `write_good` writes: conv, lif, flat, readout, and metadata.
"""

import json
import os
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np

from tests.neuromorphic.graphs import chain, conv, lif

NODES = "node/nodes"

CANARY = 1234.5
"""What lies outside; it must not show."""

Change = Callable[[h5py.File, Path], object]


def write_good(path: Path) -> None:
    """A small graph with metadata, written by nir."""
    rng = np.random.default_rng(0)
    nodes = {
        "conv": conv(rng.integers(-4, 5, (4, 3, 3, 3)), padding=1, hw=(3, 3)),
        "lif": lif((4, 3, 3)),
        "flat": nir.Flatten({"input": np.array([4, 3, 3])}, 0, -1),
        "readout": nir.Affine(rng.integers(-4, 5, (3, 36)).astype(np.float32), np.zeros(3, np.float32)),
    }
    preprocessing = {"mean": [128.0] * 3, "std": [64.0] * 3}
    nir.write(path, chain(nodes, (3, 3, 3), (3,), preprocessing=preprocessing, label_names=["a", "b", "c"]))


def write_changed(good: Path, change: Change, path: Path) -> None:
    """A copy of `good` with `change`; beside it lie a canary that it may point to, and a pipe that nobody fills."""
    folder = path.parent
    if not (folder / "pipe").exists():
        os.mkfifo(folder / "pipe")
        (folder / "canary.bin").write_bytes(np.full(4, CANARY, np.float32).tobytes())
        with h5py.File(folder / "canary.h5", "w") as file:
            file["weight"] = np.full((4,), CANARY, np.float32)
    shutil.copyfile(good, path)
    with h5py.File(path, "r+") as file:
        change(file, folder)


def put(name: str, value: object, **options: Any) -> Change:
    """Another value in the place of a dataset or group."""

    def change(file: h5py.File, folder: Path) -> None:
        if name in file:
            del file[name]
        file.create_dataset(name, data=value, **options)

    return change


def space(name: str, shape: tuple[int, ...], dtype: object = "f4", **options: Any) -> Change:
    """A dataset that was declared and never written."""

    def change(file: h5py.File, folder: Path) -> None:
        if name in file:
            del file[name]
        file.create_dataset(name, shape, dtype, **options)

    return change


def drop(name: str) -> Change:
    return lambda file, folder: file.__delitem__(name)


def move(name: str, to: str) -> Change:
    return lambda file, folder: file.move(name, to)


def link(name: str, make: Callable[[h5py.File, Path], object]) -> Change:
    def change(file: h5py.File, folder: Path) -> None:
        if name in file:
            del file[name]
        file[name] = make(file, folder)

    return change


def deep(file: h5py.File, folder: Path) -> None:
    group = file[NODES]
    for _ in range(400):
        group = group.create_group("g")


def doubling(file: h5py.File, folder: Path) -> None:
    """Groups in which every one holds the next one twice: 2^14 ways."""
    inner = file.create_group("node/nodes/conv/deep0")
    for i in range(1, 14):
        outer = file.create_group(f"node/nodes/conv/deep{i}")
        outer["a"] = outer["b"] = inner
        inner = outer


def committed(file: h5py.File, folder: Path) -> None:
    file["node/nodes/conv/kind"] = np.dtype("f8")


def bomb(file: h5py.File, folder: Path) -> None:
    """A GiB of zeros, in a MB."""
    name = f"{NODES}/conv/weight"
    del file[name]
    data = file.create_dataset(name, (2**28,), "f4", chunks=(2**22,), compression="gzip", shuffle=True)
    block = zlib.compress(bytes(2**24), 9)
    for i in range(64):
        data.id.write_direct_chunk((i * 2**22,), block)


def metadata(**changes: Any) -> Change:
    """Changes to the JSON document of the metadata; None in place of a key leaves it out."""

    def change(file: h5py.File, folder: Path) -> None:
        document = json.loads(file["node/metadata/spikeclip"][()])
        document.update(changes)
        put("node/metadata/spikeclip", json.dumps(document))(file, folder)

    return change


def text(value: object) -> Change:
    return put("node/metadata/spikeclip", value)


REFERENCES = h5py.special_dtype(ref=h5py.Reference)
COMPOUND = np.zeros(3, [("a", "f4"), ("b", "i4")])
CONV = f"{NODES}/conv"
LIF = f"{NODES}/lif"

CHANGES: dict[str, Change] = {
    # links and storage
    "external link": link(f"{CONV}/weight", lambda f, d: h5py.ExternalLink(str(d / "canary.h5"), "/weight")),
    "external link in place of a node": link(CONV, lambda f, d: h5py.ExternalLink(str(d / "canary.h5"), "/")),
    "external link to a pipe": link(f"{CONV}/weight", lambda f, d: h5py.ExternalLink(str(d / "pipe"), "/weight")),
    "soft link": link(f"{CONV}/weight", lambda f, d: h5py.SoftLink("/node/nodes/readout/weight")),
    "dangling link": link(f"{CONV}/weight", lambda f, d: h5py.SoftLink("/nowhere")),
    "link to itself": link(f"{CONV}/weight", lambda f, d: h5py.SoftLink(f"/{CONV}/weight")),
    "second name": link(f"{CONV}/again", lambda f, d: f[f"{CONV}/weight"]),
    "cycle": link(f"{CONV}/self", lambda f, d: f["node"]),
    "root in itself": link(f"{CONV}/self", lambda f, d: f["/"]),
    "external storage": lambda f, d: (
        f.__delitem__(f"{CONV}/bias"),
        f[CONV].create_dataset("bias", (4,), "f4", external=[(str(d / "canary.bin"), 0, 16)]),
    ),
    "external storage in a pipe": lambda f, d: (
        f.__delitem__(f"{CONV}/bias"),
        f[CONV].create_dataset("bias", (4,), "f4", external=[(str(d / "pipe"), 0, 16)]),
    ),
    "virtual": lambda f, d: (
        f.__delitem__(f"{CONV}/bias"),
        f[CONV].create_virtual_dataset("bias", virtual(d / "canary.h5")),
    ),
    "deep": deep,
    "doubling": doubling,
    "committed type": committed,
    "reference": link(f"{CONV}/weight", lambda f, d: np.array([f["node"].ref] * 3, REFERENCES)),
    # sizes
    "bomb": bomb,
    "huge": space(f"{CONV}/weight", (2**20, 2**20), chunks=(64, 64)),
    "huge in nothing": space(f"{CONV}/weight", (2**27,), chunks=(64,)),
    "huge chunk": space(f"{CONV}/bias", (4,), chunks=(2**29,), maxshape=(None,)),
    "huge text": space(f"{CONV}/note", (2**26,), h5py.string_dtype(), chunks=(64,)),
    "huge shape": put(f"{NODES}/input/shape", np.array([2**20, 2**20, 2**20])),
    "shape that overflows": put(f"{NODES}/input/shape", np.array([2**32, 2**32])),
    # graph
    "no version": drop("version"),
    "version 2": put("version", "2.0"),
    "version array": put("version", np.arange(4.0)),
    "version group": lambda f, d: (f.__delitem__("version"), f.create_group("version")),
    "node is a dataset": put("node", 1.0),
    "no node": drop("node"),
    "no nodes": drop(NODES),
    "no edges": drop("node/edges"),
    "nodes are a dataset": put(NODES, np.zeros(3)),
    "edges are a group": lambda f, d: (f.__delitem__("node/edges"), f.create_group("node/edges/a")),
    "edges of numbers": put("node/edges", np.zeros((3, 2))),
    "edges in threes": put("node/edges", np.array([["input", "conv", "lif"]], object), dtype=h5py.string_dtype()),
    "edges in one row": put("node/edges", np.array(["input", "conv"], object), dtype=h5py.string_dtype()),
    "edge to nowhere": put("node/edges", np.array([["input", "x" * 5000]], object), dtype=h5py.string_dtype()),
    "edge twice": put("node/edges", np.array([["input", "conv"]] * 2, object), dtype=h5py.string_dtype()),
    "edge to itself": put("node/edges", np.array([["lif", "lif"]], object), dtype=h5py.string_dtype()),
    "edge of bytes": put("node/edges", np.array([[b"\xff\xfe", b"conv"]], "S4")),
    "edges without any": put("node/edges", np.zeros((0, 2), "S4")),
    "type_check": put("node/type_check", True),
    "single node": put("node/type", "Affine"),
    "type of a list": put("node/type", np.array(["NIRGraph"] * 2, object), dtype=h5py.string_dtype()),
    "graph in a graph": put(f"{CONV}/type", "NIRGraph"),
    "recurrent": put("node/edges", np.array([["conv", "lif"], ["lif", "conv"]], object), dtype=h5py.string_dtype()),
    "name of controls": move(CONV, f"{NODES}/con\x1b[2J\nv"),
    "name too long": move(CONV, f"{NODES}/{'c' * 3000}"),
    "name in Greek": move(CONV, f"{NODES}/κόμβος"),
    "name in no UTF-8": move(CONV.encode(), f"{NODES}/".encode() + b"\xff\xfe"),
    # metadata
    **{
        f"metadata {name}": text(value)
        for name, value in {
            "broken": "{",
            "deep": "[" * 100_000,
            "deep object": '{"a":' * 50_000,
            "number": 5.0,
            "array": np.zeros(3),
            "list": "[]",
            "null": "null",
            "long number": '{"format_version": ' + "9" * 5000 + "}",
            "bytes": np.bytes_(b"\xff\xfe"),
            "empty": "",
        }.items()
    },
    "metadata is a dataset": put("node/metadata", 1.0),
    **{
        f"metadata {key} {str(value)[:30]!r}": metadata(**{key: value})
        for key, values in {
            "format_version": [2, "1", None, [], 1.0, True],
            "dt": [0.0, -1.0, 1e400, float("nan"), "x", None, 1e-300, 1, 0.5],
            "time_steps": [0, -1, 4096, 10**30, 1.5, True, None, "4"],
            "input_bits": [-1, 25, 24, True, "x", [1]],
            "label_names": ["abc", 5, [1, 2], {"a": 1}, ["a", "b", "\x1b[2J"], ["[/bold]", "[red]", ""], ["a"], [],
                            None],
            "preprocessing": [5, [], {}, {"mean": 1}, {"mean": [1] * 3, "std": [0] * 3}, {"mean": "a", "std": {}},
                              {"mean": [10**400] * 3, "std": [1] * 3}, {"mean": [1] * 3, "std": [1] * 3}, None],
            "certificate": [5, [], {"nodes": 5}, {"nodes": {"lif": 1}}, {"nodes": {"lif": {"exact": "x"}}}, None],
            "twin": [5, [], {}, {"parameters": 1, "layers": 5}, {"parameters": -1, "layers": []},
                     {"parameters": 1, "layers": [{"name": "a", "kind": "b", "macs": 2**60}]},
                     {"parameters": 1, "layers": [{"name": "a\x1b", "kind": [], "macs": 1, "inputs": 5}]}, None],
            "readout": [5, [], {"time_weights": 5}, {"time_weights": [1] * 3}, {"time_weights": [10**400] * 4},
                        {"time_weights": [1] * 4, "bias": [1]}, {"time_weights": [1] * 4, "bias": {"a": 1}},
                        {"time_weights": [[1]] * 4}, {"time_weights": [float("nan")] * 4}, None],
            "loihi2": [0, 5, [], {}, {"granularity": "layer"}],
        }.items()
        for value in values
    },
}  # fmt: skip

VALUES: dict[str, object] = {
    "text": "abc",
    "texts": np.array(["a", "b"], object),
    "bytes": np.bytes_(b"\xff"),
    "compound": COMPOUND,
    "complex": np.ones(4, complex),
    "bool": np.bool_(True),
    "half": np.float16(2),
    "long double": np.longdouble(2),
    "big-endian": np.array([2, 2], ">i4"),
    "huge integer": np.int64(2**63 - 1),
    "huge unsigned": np.uint64(2**64 - 1),
    "negative": np.int64(-(2**63)),
    "huge pair": np.array([2**40, 2**40]),
    "large pair": np.array([5000, 5000]),
    "float": 1e300,
    "nan": np.nan,
    "infinity": -np.inf,
    "zero": 0,
    "empty": np.zeros((0,)),
    "empty shape": h5py.Empty("f4"),
    "empty map": np.zeros((4, 0, 3, 3), np.float32),
    "many axes": np.ones((1,) * 20),
    "matrix": np.ones((3, 3), np.int64),
    "threes": np.array([1, 1, 1]),
}
"""What each parameter of each node is replaced by."""

PARTS = 4
"""Of the list of these changes: `make test` makes those of one."""


def virtual(source: Path) -> h5py.VirtualLayout:
    layout = h5py.VirtualLayout((4,), "f4")
    layout[:] = h5py.VirtualSource(str(source), "weight", (4,))
    return layout


def replacements(file: Path) -> dict[str, Change]:
    """Every parameter of every node missing, and replaced by each of `VALUES`: one change of `PARTS`, then the next.

    So each part of the list holds every parameter, and every value.
    """
    with h5py.File(file, "r") as data:
        names = [f"{NODES}/{node}/{key}" for node, group in data[NODES].items() for key in group]
    changes: dict[str, Change] = {}
    for name in names:
        short = name.removeprefix(f"{NODES}/")
        changes[f"{short} missing"] = drop(name)
        for what, value in VALUES.items():
            options = {"dtype": h5py.string_dtype()} if what == "texts" else {}
            changes[f"{short} {what}"] = put(name, value, **options)
    ordered = list(changes.items())
    return dict(change for part in range(PARTS) for change in ordered[part::PARTS])
