"""Writes a plan as a program: `network.py`, from a template and the lines that build the network."""

from importlib import resources

from jinja2 import Environment, StrictUndefined

from neuromorphic.deploy.plan import Plan, Population, Synapses
from neuromorphic.ops import Shape


def program(plan: Plan, title: str, steps: int, frame_bits: int) -> str:
    """The text of `network.py`; frames are graded spikes of `frame_bits` bits, or spikes if that is 0."""
    read_by_host = list(plan.sums) if plan.sums else [plan.populations[-1].name]
    return rendered(
        "network.py.j2",
        title=title,
        steps=steps,
        depth=plan.depth,
        frame_bits=frame_bits,
        read_by_host=_tuple([_text(name) for name in read_by_host]),
        has_sums=plan.sums is not None,
        host_says="sums of spikes" if plan.sums is not None else "none: the host does more than sum here",
        build=[line for population in plan.populations for line in _lines(population)],
    )


def rendered(name: str, **values: object) -> str:
    """A template of this room, filled in."""
    text = (resources.files("neuromorphic.deploy") / name).read_text(encoding="utf-8")
    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    return environment.from_string(text).render(values)


def _lines(population: Population) -> list[str]:
    name = _text(population.name)
    lines = [f"self.relay({_text(r.name)}, {_text(r.source)}, {r.wait})" for r in population.relays]
    numbers = {key: repr(value) for key, value in population.settings.items()}
    numbers |= {key.rpartition(".")[2]: f"WEIGHTS[{_text(key)}]" for key in population.arrays}
    reset = numbers.pop("reset_interval", None)
    settings = {"latency": str(population.latency), **({"reset": reset} if reset else {}), **numbers}
    lines.append(f"self.neurons({name}, {_shape(population.shape)}, {_named(settings)})")
    return lines + [_connection(each, name) for each in population.synapses]


def _connection(synapses: Synapses, reader: str) -> str:
    settings = {**({"wait": synapses.wait} if synapses.wait else {}), **synapses.settings}
    named = {key: repr(value) for key, value in settings.items()}
    arguments = [_text(synapses.source), reader, _text(synapses.name), *([_named(named)] if named else [])]
    return f"self.{synapses.kind.lower()}({', '.join(arguments)})"


def _named(settings: dict[str, str]) -> str:
    return ", ".join(f"{key}={value}" for key, value in settings.items())


def _text(name: str) -> str:
    """A name as Python writes it, in double quotes."""
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _shape(shape: Shape) -> str:
    return _tuple([str(n) for n in shape])


def _tuple(parts: list[str]) -> str:
    return f"({', '.join(parts)}{',' * (len(parts) == 1)})"
