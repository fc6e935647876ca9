"""MACs of the ANN twin, from the layer table that travels in the `.nir` file."""

from energy.counts import AnnCounts
from neuromorphic.errors import RefusedInput
from neuromorphic.graph import Graph


def ann_counts(graph: Graph, images: int) -> AnnCounts | None:
    """The twin's MACs for so many images; None where the file describes no twin.

    Raises:
        RefusedInput: the table is not `{"parameters": n, "layers": [{"name", "kind", "macs"}, ...]}`.
    """
    twin = graph.metadata.twin
    if twin is None:
        return None
    layers: dict[str, tuple[str, int]] = {}
    try:
        parameters = _natural(twin["parameters"])
        for layer in twin["layers"]:
            name = str(layer["name"])
            if name in layers:
                raise ValueError(f"layer {name!r} stands twice")
            layers[name] = (str(layer["kind"]), _natural(layer["macs"]) * images)
    except (KeyError, TypeError, ValueError) as error:
        raise RefusedInput(f"{graph.source}: its table of the ANN twin is not understood ({error!r})") from error
    return AnnCounts(parameters, layers)


def _natural(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError(f"{value!r} is no count")
    return value
