"""Records join by what their fields say, and tell JSON the rest."""

from typing import Annotated

import numpy as np
import pytest
from pydantic import ValidationError

import energy
from energy.record import ADDED, InMemory, PerStep, Record, Sum, follows
from neuromorphic.execution.reference import run
from neuromorphic.reading.build import from_nir
from tests.neuromorphic.graphs import metadata, small_net


class Part(Record):
    """A record within a record."""

    found: Sum


class Whole(Record):
    """A field of every kind."""

    name: str
    per_step: PerStep
    hidden: InMemory[Sum]
    added: Sum
    perhaps: Annotated[int | None, ADDED]
    by_name: Annotated[dict[str, int], ADDED]
    part: Part
    parts: tuple[Part, ...]
    mean: float = follows(lambda of: float(of["per_step"].mean()))


def whole(images, **changed):
    values = np.full((images, 2), images, np.int64)
    part = Part(found=images)
    given = {"name": "n", "per_step": values, "hidden": 1, "added": images, "perhaps": None, "by_name": {"a": 3}}
    return Whole(**{**given, "part": part, "parts": (part, Part(found=10))} | changed)


def test_every_kind_of_field_joins_in_its_own_way():
    found = Whole.joined([whole(1), whole(3)])
    assert found.per_step.tolist() == [[1, 1], [3, 3], [3, 3], [3, 3]]
    assert (found.name, found.hidden, found.added, found.perhaps, found.by_name) == ("n", 2, 4, None, {"a": 6})
    assert (found.part.found, [part.found for part in found.parts]) == (4, [4, 20])
    assert found.mean == 20 / 8  # of the whole, not of the means 1 and 3


def test_what_has_to_be_the_same_and_differs_is_refused_by_name():
    with pytest.raises(ValueError, match=r"Whole\.name differs between batches: \['n', 'm'\]"):
        Whole.joined([whole(1), whole(1, name="m")])


def test_json_holds_what_is_not_in_memory_only_and_is_read_again():
    text = whole(2).model_dump_json()
    assert text == (
        '{"name":"n","added":2,"perhaps":null,"by_name":{"a":3},"part":{"found":2},'
        '"parts":[{"found":2},{"found":10}],"mean":2.0}'
    )
    again = Whole.model_validate_json(text)
    assert again.model_dump_json() == text
    assert again.per_step is None
    schema = Whole.model_json_schema(mode="serialization")
    assert schema["required"] == ["name", "added", "perhaps", "by_name", "part", "parts", "mean"]
    assert "per_step" not in schema["properties"]
    with pytest.raises(ValidationError, match="alien"):
        Whole.model_validate_json(text[:-1] + ',"alien":1}')


def test_counting_leaves_nothing_out():
    def missing(record, where):
        for name, field in type(record).model_fields.items():
            value = getattr(record, name)
            if field.exclude and value is None and name not in ("ann", "shapes"):
                yield f"{where}.{name}"
            values = value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else [value]
            for inner in values:
                if isinstance(inner, Record):
                    yield from missing(inner, f"{where}.{name}")

    nir_graph = small_net()
    nir_graph.metadata = metadata(4)
    graph = from_nir(nir_graph)
    counts = energy.count(graph, run(graph, np.ones((2, 2, 6, 6), np.float32)))
    assert list(missing(counts, "counts")) == []
