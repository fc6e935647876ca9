"""Records: what is counted, said once: how it joins over batches of images, and what of it stands in the JSON.

Every field of a `Record` is one of these:

    Sum                 an integer, added up over batches
    InMemory[...]       left out of the JSON
    PerStep             int64 `[images, T]`, in memory only: the images of batches follow each other
    = follows(...)      worked out from the fields before it; of joined batches, worked out again
    anything else       the same in every batch: a name, a number of neurons; records in it are joined
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, SkipValidation, ValidationError
from pydantic.json_schema import SkipJsonSchema

from neuromorphic.ir.shown import same

T = TypeVar("T")

ADDED = object()
"""Marks a field, or what is in it, as `Sum`."""

Sum = Annotated[int, ADDED]
InMemory = Annotated[T, SkipValidation(), SkipJsonSchema(), Field(default=None, exclude=True)]
PerStep = InMemory[NDArray[np.int64]]


class Strict(BaseModel):
    """A record without unknown keys that isn't changed once it is made."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def first_fault(error: ValidationError, whole: str) -> str:
    """The first fault of a document: its key, or `whole` for all of it, the value found there, and the expected one."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"]) or whole
    return f"{key} is {str(first['input'])[:80]!r}; expected: {first['msg']}"


class Record(Strict):
    """Counts of some images.

    One that is read from JSON has None for what was in memory only: it can be shown, but neither joined nor priced.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, json_schema_serialization_defaults_required=True)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and same(vars(self), vars(other))

    __hash__ = None  # type: ignore[assignment]  # arrays are in it

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """The counts of all images of `parts`, in that order.

        Args:
            parts: at least one, each of the same graph and T.

        Raises:
            ValueError: they differ in what is the same in every batch.
        """
        whole = {}
        for name, field in cls.model_fields.items():
            if field.default_factory is None:
                values = [getattr(part, name) for part in parts]
                whole[name] = _joined(values, ADDED in field.metadata, f"{cls.__name__}.{name}")
        return cls(**whole)


def follows(work_out: Callable[[dict[str, Any]], Any]) -> Any:
    """A field that `work_out` makes of the fields before it, by name."""
    return Field(default_factory=work_out)


def _joined(values: list[Any], added: bool, where: str) -> Any:
    first = values[0]
    if isinstance(first, Record):
        return type(first).joined(values)
    if isinstance(first, Mapping):
        return {key: _joined([value[key] for value in values], added, f"{where}.{key}") for key in first}
    if isinstance(first, tuple):
        return tuple(_joined(list(each), added, where) for each in zip(*values, strict=True))
    if isinstance(first, np.ndarray):
        return np.concatenate(values)
    if added and first is not None:
        return sum(values)
    if any(value != first for value in values):
        raise ValueError(f"{where} differs between batches: {values[:4]}")
    return first
