"""An ONNX graph in the making: operators that read tensors by name, and the constants among these."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

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
