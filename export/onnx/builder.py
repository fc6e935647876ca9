"""An ONNX graph in the making: operators that read tensors by name, and the constants among these."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ValueInfoProto, helper, numpy_helper

from neuromorphic.errors import RefusedInput
from neuromorphic.files import write_bytes
from neuromorphic.ir.metadata import KEY

OPSET = 18
"""Version of the standard operators: the first whose Split takes a number of equal parts."""

IR_VERSION = 8
"""Version of the file format that came with opset 18 (onnx 1.13); newer ones shut out older runtimes."""


@dataclass
class Builder:
    """Operators and constants, in the order in which they were added.

    An operator is named after its first output, so that a viewer shows where in the encoder it belongs.

    Attributes:
        nodes: the operators, each behind those that it reads.
        constants: by name.
    """

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: dict[str, onnx.TensorProto] = field(default_factory=dict)

    def add(self, kind: str, output: str, *inputs: str, **attributes: Any) -> str:
        """The output of a new operator of type `kind`."""
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def split(self, outputs: list[str], x: str, axis: int) -> list[str]:
        """`x` in as many equal parts as there are names in `outputs`."""
        parts = len(outputs)
        self.nodes.append(helper.make_node("Split", [x], outputs, name=outputs[0], axis=axis, num_outputs=parts))
        return outputs

    def cast(self, output: str, x: str, dtype: type[np.generic]) -> str:
        """`x` as another type of number."""
        return self.add("Cast", output, x, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def constant(self, name: str, values: NDArray[Any]) -> str:
        """The name of a constant, which holds `values` once, however often it is read."""
        self.constants[name] = numpy_helper.from_array(np.asarray(values, order="C"), name)
        return name

    def number(self, value: float) -> str:
        """The name of a float32 scalar; one constant per value, of which a reader sees the value: `number/0.5`."""
        single = np.float32(value)
        return self.constant(f"number/{single!s}", np.array(single))

    def integers(self, *values: int) -> str:
        """The name of a shape or of axes; one constant per list: `integers/-1,128,8,8`."""
        return self.constant(f"integers/{','.join(map(str, values))}", np.array(values, np.int64))

    def model(
        self,
        name: str,
        given: ValueInfoProto,
        outputs: list[ValueInfoProto],
        document: dict[str, Any],
        **producer: str,
    ) -> onnx.ModelProto:
        """The checked model of what the builder holds.

        Args:
            name: of the graph.
            given: its input.
            outputs: with their shapes.
            document: the metadata, JSON-compatible.
            producer: `producer_name`, and perhaps `producer_version`.

        Raises:
            RefusedInput: the weights are more than fit into one file.
        """
        constants = list(self.constants.values())
        size = sum(len(tensor.raw_data) for tensor in constants)
        if size > onnx.checker.MAXIMUM_PROTOBUF:
            raise RefusedInput(f"the model holds {size / 1e9:.1f} GB of weights; an ONNX file takes at most 2.1 GB")
        graph = helper.make_graph(self.nodes, name, [given], outputs, constants)
        opsets = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, ir_version=IR_VERSION, opset_imports=opsets, **producer)
        helper.set_model_props(model, {KEY: json.dumps(document, allow_nan=False)})
        onnx.checker.check_model(model, full_check=True)
        return model


def write(model: onnx.ModelProto, path: Path) -> None:
    """Write `model` to `path`, whole or not at all."""
    write_bytes(path, model.SerializeToString(deterministic=True))
