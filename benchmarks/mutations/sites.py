"""Where a file can be changed by a little, and the changed file: on Python's own syntax trees.

    edge        < for <=, > for >=, == for !=, `in` for `not in`, `is` for `is not`, and the reverse
    arithmetic  + for -, * for /, // for *, << for >>, & for |, and the reverse
    number      an integer plus 1, a float doubled (0.0 becomes 1.0), True for False
    not         is dropped (it stands twice)
    logic       `and` for `or`, and the reverse
    arguments   the first two of a call change places

Left out is what no test has to notice: what a message says, types, decorators, `strict` of `zip`, imports for type
checkers, and places of arguments that mean the same either way.
"""

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Edges = dict[type[ast.cmpop], type[ast.cmpop]]

EDGES: Edges = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
ARITHMETIC: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.LShift: ast.RShift,
    ast.RShift: ast.LShift,
    ast.BitAnd: ast.BitOr,
    ast.BitOr: ast.BitAnd,
}


EITHER_WAY = {"max", "min", "maximum", "minimum", "equal", "array_equal", "add", "multiply", "transpose"}
"""Functions of two arguments whose places don't matter."""


@dataclass(frozen=True)
class Site:
    """A place that can be changed, by its line and its number among the places of the file.

    Attributes:
        index: counted from 0, in the order of the file's tree.
        line: of the file.
        function: around it, `Class.method`, the outermost of several; empty outside of functions.
        kind: of the change.
        change: what becomes of it.
    """

    index: int
    line: int
    function: str
    kind: str
    change: str


def sites(source: str) -> list[Site]:
    """All places of a file."""
    found, tree = [], ast.parse(source)
    for index, (node, kind, change) in enumerate(_changes(tree)):
        before = ast.unparse(node)
        change()
        found.append(
            Site(index, node.lineno, _around(tree, node.lineno), kind, f"{before} -> {ast.unparse(node)}"[:160])
        )
        change()  # and back: each change of a tree is its own reverse
    return found


def changed(source: str, index: int) -> str:
    """The file with that place changed."""
    tree = ast.parse(source)
    _, _, change = list(_changes(tree))[index]
    change()
    return ast.unparse(tree)


def _around(tree: ast.AST, line: int) -> str:
    """The outermost function around a line."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.FunctionDef(name=name, lineno=first, end_lineno=last) if first <= line <= (last or first):
                return name
            case ast.ClassDef(name=name, lineno=first, end_lineno=last) if first <= line <= (last or first):
                within = _around(node, line)
                return within and f"{name}.{within}"
            case _:
                pass
    return ""


Change = tuple[ast.expr, str, Callable[[], None]]


def _changes(tree: ast.AST) -> Iterator[Change]:
    for node in _noticed(tree):
        match node:
            case ast.Compare(ops=ops):
                for place, operator in enumerate(ops):
                    if type(operator) in EDGES:
                        yield node, "edge", _swap(ops, place, EDGES[type(operator)]())
            case ast.BinOp(op=operator, left=left) if type(operator) in ARITHMETIC and not _is_text(left):
                yield node, "arithmetic", _swap(vars(node), "op", ARITHMETIC[type(operator)]())
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                yield node, "not", _swap(vars(node), "operand", ast.UnaryOp(ast.Not(), operand))
            case ast.BoolOp(op=operator):
                other = ast.Or() if isinstance(operator, ast.And) else ast.And()
                yield node, "logic", _swap(vars(node), "op", other)
            case ast.Constant(value=bool() | int() | float() as value):
                yield node, "number", _swap(vars(node), "value", _other(value))
            case ast.Call(func=ast.Name(id="isinstance" | "issubclass" | "getattr")):
                pass  # which raises
            case ast.Call(args=[first, second, *_]) if not any(isinstance(a, ast.Starred) for a in (first, second)):
                same = len(node.args) == 2 and _called(node.func) in EITHER_WAY
                if not same and ast.dump(first) != ast.dump(second):
                    yield node, "arguments", _exchange(node.args)
            case _:
                pass


def _called(function: ast.expr) -> str:
    return getattr(function, "attr", getattr(function, "id", ""))


def _swap(holder: "dict[str, object] | list[ast.cmpop]", place: "str | int", other: object) -> Callable[[], None]:
    kept = [other]

    def change() -> None:
        kept[0], holder[place] = holder[place], kept[0]  # type: ignore[index]

    return change


def _exchange(values: list[ast.expr]) -> Callable[[], None]:
    def change() -> None:
        values[0], values[1] = values[1], values[0]

    return change


def _other(value: bool | float) -> bool | float:
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else 2 * value or 1.0


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _noticed(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below whose change a test should notice."""
    match node:
        case ast.Raise() | ast.JoinedStr() | ast.Assert():
            return
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return
        case ast.AnnAssign(value=value):
            if value is not None:
                yield from _noticed(value)
            return
        case ast.FunctionDef(body=body, args=arguments):
            for each in (*arguments.defaults, *(d for d in arguments.kw_defaults if d is not None), *body):
                yield from _noticed(each)
            return
        case ast.ClassDef(body=body):
            for each in body:
                yield from _noticed(each)
            return
        case ast.Call(func=ast.Name(id="RefusedInput")) | ast.keyword(arg="strict"):
            return
        case _:
            pass
    yield node
    for below in ast.iter_child_nodes(node):
        yield from _noticed(below)
