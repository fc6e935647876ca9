"""How values are shown in a shell and in a notebook, and when two values are equal."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from html import escape
from typing import Any

import numpy as np

ROWS = 20
"""Rows of a table, at most; of more, the first and the last are shown, and those between are counted."""

WIDTH = 60
"""Characters of a text in a table, at most; numbers are never cut."""


class Shown(ABC):
    """A value that shows itself as a sentence and a table, and equals any other with the same content.

    `repr` is one screen of text, `_repr_html_` is the same for a notebook; `pandas.DataFrame(value.rows())` is the
    whole table.
    """

    @abstractmethod
    def title(self) -> str:
        """The value in one line."""

    @abstractmethod
    def rows(self) -> list[dict[str, Any]]:
        """The table, a row for each part of the value: text and numbers by the name of the column."""

    def __repr__(self) -> str:
        rows = self.rows()
        if not rows:
            return self.title()
        cells = [list(rows[0]), *([_text(value) for value in row.values()] for row in _ends(rows))]
        numbers = [not isinstance(value, str) for value in rows[0].values()]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(
                cell.rjust(width) if number else cell.ljust(width)
                for cell, width, number in zip(line, widths, numbers, strict=True)
            ).rstrip()
            for line in cells
        ]
        left_out = len(rows) - len(_ends(rows))
        if left_out:
            lines.insert(1 + ROWS // 2, f"... {left_out} more")
        return "\n".join([self.title(), *lines])

    def __str__(self) -> str:
        return repr(self)

    def _repr_html_(self) -> str:
        rows = self.rows()
        if not rows:
            return f"<p>{escape(self.title())}</p>"
        head = "".join(f"<th>{escape(name)}</th>" for name in rows[0])
        lines = ["<tr>" + "".join(map(_cell, row.values())) + "</tr>" for row in _ends(rows)]
        left_out = len(rows) - len(lines)
        if left_out:
            lines.insert(ROWS // 2, f'<tr><td colspan="{len(rows[0])}">... {left_out} more</td></tr>')
        table = f"<thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody>"
        return f"<table><caption>{escape(self.title())}</caption>{table}</table>"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and same(self, other)

    __hash__ = None  # type: ignore[assignment]  # arrays are in it


def same(one: Any, other: Any) -> bool:
    """Whether two values have the same content: arrays of one dtype and shape, element by element, NaN equal to NaN."""
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        alike = isinstance(one, np.ndarray) and isinstance(other, np.ndarray) and one.dtype == other.dtype
        return alike and np.array_equal(one, other, equal_nan=one.dtype.kind == "f")
    if is_dataclass(one) and not isinstance(one, type):
        names = [field.name for field in fields(one) if field.compare]
        return type(one) is type(other) and all(same(getattr(one, name), getattr(other, name)) for name in names)
    if isinstance(one, Shown):
        return type(one) is type(other) and same(vars(one), vars(other))
    if isinstance(one, Mapping):
        return isinstance(other, Mapping) and list(one) == list(other) and all(same(one[k], other[k]) for k in one)
    if isinstance(one, tuple | list):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def _ends(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return rows if len(rows) <= ROWS else [*rows[: ROWS // 2], *rows[-ROWS // 2 :]]


def _text(value: Any) -> str:
    if isinstance(value, bool | str):
        text = str(value)
        return text if len(text) <= WIDTH else f"{text[: WIDTH - 3]}..."
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    return "" if value is None else f"{value:.4g}"


def _cell(value: Any) -> str:
    style = "" if isinstance(value, str) else ' style="text-align: right"'
    return f"<td{style}>{escape(_text(value))}</td>"
