"""Parameters of NIR's nodes as operations hold them: finite float32, integer sizes, one per neuron, in time steps."""

from collections.abc import Mapping
from math import prod
from typing import TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import RefusedInput, shown
from neuromorphic.ops.types import Conventions, Float32, Int64, Shape, single_number, unrepeated

N = TypeVar("N")

MAX_DELAY = 4096
"""Time steps of a `Delay`, at most: as many as an image may have."""

MAX_WHOLE = 2**53
"""Beyond it float64 doesn't hold every whole number."""

MAX_SIZE = 2**31 - 1
"""The largest kernel, stride, padding or dilation; the product of two of them fits an int64."""


def finite(array: object, what: str, where: str, *, infinite: bool = False) -> Float32:
    """`array` in float32; in float64 where float32 would change it.

    Args:
        array: from the file.
        what: the parameter's name, for messages.
        where: the node's name, for messages.
        infinite: whether infinities are allowed.

    Raises:
        RefusedInput: it is no array of numbers, or some are not finite in float32.
    """
    try:
        with np.errstate(over="ignore"):
            result = np.asarray(array, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise RefusedInput(f"{where}: {what} is no array of numbers ({shown(str(error))})") from error
    if not (np.isfinite(result) | (infinite & np.isinf(result))).all():
        raise RefusedInput(f"{where}: {what} holds values that are not finite")
    given = np.asarray(array)
    if given.dtype.kind in "iu":
        beyond = given[(given > MAX_WHOLE) | (given < -MAX_WHOLE)]
        if beyond.tolist() != [int(each) for each in beyond.astype(np.float64)]:
            raise RefusedInput(f"{where}: {what} holds whole numbers beyond 2^53; expected such as float64 holds")
    if given.dtype != np.float32 and not np.array_equal(result, given):
        return cast(Float32, given.astype(np.float64))
    return result


def per_channel(value: object, channels: int, what: str, where: str) -> Float32:
    """`value` as float32 `[channels]`.

    A single number, or False, stands for all channels; axes of length 1 in front are dropped.

    Raises:
        RefusedInput: another shape, or numbers that are not finite.
    """
    given = finite(value, what, where)
    if given.size == 1:
        return np.full(channels, given.reshape(()), given.dtype)
    while given.ndim > 1 and len(given) == 1:
        given = given[0]
    if given.shape != (channels,):
        raise RefusedInput(f"{where}: {what} has the shape {list(given.shape)}; expected {[channels]}")
    return given


def pair(value: object, what: str, where: str, least: int) -> tuple[int, int]:
    """One or two integers as (vertical, horizontal).

    Raises:
        RefusedInput: others, or one below `least` or above `MAX_SIZE`.
    """
    numbers = np.atleast_1d(np.asarray(value))
    if numbers.size not in (1, 2) or not np.issubdtype(numbers.dtype, np.integer) or _outside(numbers, least):
        raise RefusedInput(
            f"{where}: {what} is {shown(value)}; expected one or two integers from {least} to {MAX_SIZE}"
        )
    return int(numbers[0]), int(numbers[-1])


def single(value: object, what: str, where: str, least: int) -> int:
    """One integer.

    Raises:
        RefusedInput: no integer, several, or one below `least` or above `MAX_SIZE`.
    """
    numbers = np.atleast_1d(np.asarray(value))
    if numbers.size != 1 or not np.issubdtype(numbers.dtype, np.integer) or _outside(numbers, least):
        raise RefusedInput(f"{where}: {what} is {shown(value)}; expected an integer from {least} to {MAX_SIZE}")
    return int(numbers.item())


def _outside(numbers: NDArray[np.integer], least: int) -> bool:
    return bool(numbers.min() < least or numbers.max() > MAX_SIZE)


def per_neuron(
    node: object, keys: tuple[str, ...], shape: Shape, where: str, *, infinite: tuple[str, ...] = ()
) -> dict[str, Float32]:
    """The parameters `keys` of `node` with one number for each neuron: float32 of `shape`, by key.

    A single number stands for all neurons; one per channel, or one per position, for all neurons that share it.  A
    missing `v_reset` is 0, as in NIR.  Axes of length 1 in front belong to a batch, and are dropped.  The parameters
    in `infinite` may be infinite.

    Raises:
        RefusedInput: another shape, no numbers, or some that are not finite.
    """
    values: dict[str, Float32] = {}
    for key in keys:
        given = getattr(node, key)
        absent = given is None and key == "v_reset"
        value = finite(0.0 if absent else given, key, where, infinite=key in infinite)
        if not value.size:
            raise RefusedInput(f"{where}: {key} is empty; expected a number for each neuron")
        spread = _spread(value, shape)
        if spread is None:
            raise RefusedInput(f"{where}: {key} has the shape {list(value.shape)}; expected {list(shape)}")
        values[key] = spread
    return values


def _spread(value: Float32, shape: Shape) -> Float32 | None:
    """`value` broadcast to neurons of `shape`; None where it is not clear which number belongs to which neuron.

    For neurons `[C, H, W]`, `[C, 1, 1]` and `[H, W]` are clear, as numpy and PyTorch broadcast them; `[W]` is not,
    since it could be one number per channel.  For neurons `[1, N]`, `[N]` is clear.
    """
    if value.size == 1:
        return np.broadcast_to(value.reshape(()), shape)
    while value.ndim > len(shape) and len(value) == 1:
        value = value[0]
    if value.ndim > len(shape):
        return None
    missing = shape[: len(shape) - value.ndim]
    whole = prod(missing) == 1 or (len(missing) == 1 and value.ndim > 1)
    fits = all(own in (1, size) for own, size in zip(value.shape[::-1], shape[::-1], strict=False))
    # Most populations have one number for all neurons, which is stored once.
    return np.broadcast_to(single_number(value), shape) if whole and fits else None


def decay(tau: Float32, given: Conventions, what: str, where: str) -> Float32:
    """`dt / tau`, the share that is lost per time step, float32; `1 - exp(-dt / tau)` where the writer means that.

    Raises:
        RefusedInput: a tau below dt, for which forward Euler overshoots; or, where it is exponential, not above 0.
    """
    shape, tau = tau.shape, unrepeated(tau)
    if given.exponential:
        if tau.min() <= 0:
            raise RefusedInput(f"{where}: {what} is {tau.min()} s; expected more than 0")
        return np.broadcast_to(np.float32(-np.expm1(-given.dt / tau.astype(np.float64))), shape)
    dt = tau.dtype.type(given.dt)
    if tau.min() < dt:
        raise RefusedInput(
            f"{where}: {what} is {tau.min()} s; expected at least dt = {given.dt} s (--dt, --written-by)"
        )
    # In the file's type: in float32 2e-4 / 1e-4 is exactly 2, and 1 / 2 exactly 0.5.
    with np.errstate(over="ignore"):  # a tau beyond float32's steps decays by 0
        steps = tau / dt
    return np.broadcast_to(tau.dtype.type(1) / steps, shape)


def firing(threshold: Float32, given: Conventions) -> Float32:
    """The number above which neurons fire: `threshold`, or the one before it where the writer's fire at it.

    The one before it in float32, in which libraries keep v; in float64 where a spike takes it off v, again and again.
    """
    if not given.fires_at:
        return threshold
    kind = np.float64 if given.subtract else threshold.dtype.type
    before = np.nextafter(unrepeated(threshold).astype(kind), kind(-np.inf))
    return np.broadcast_to(before, threshold.shape)


def per_input(factor: Float32, leak: Float32, adds: bool) -> Float32:
    """The gain of `v += leak (gain x - v)`: `factor`; or `factor / leak` where the writer `adds` inputs, `factor x`."""
    if not adds:
        return factor
    return np.broadcast_to((unrepeated(factor) / unrepeated(leak)).astype(factor.dtype), factor.shape)


def integrates(values: Mapping[str, Float32], where: str) -> bool:
    """Whether tau and r are infinite, which stands for v += x: snnTorch writes `Leaky(beta=1)` so.

    Raises:
        RefusedInput: only one of them is infinite, or they are for some neurons only.
    """
    infinite = [np.isinf(values[key]) for key in ("tau", "r")]
    if not np.any(infinite):
        return False
    if not np.all(infinite):
        raise RefusedInput(f"{where}: tau or r is infinite for some neurons; expected both, and for all of them")
    return True


def delay_steps(delay: object, dt: float, where: str) -> Int64:
    """`delay / dt`, int64 of the shape of `delay`.

    Raises:
        RefusedInput: a negative delay, one above `MAX_DELAY` steps, or one that is no multiple of dt, to float32's
            precision (2^-20).
    """
    seconds = finite(delay, "delay", where).astype(np.float64)
    steps = seconds / dt
    if not seconds.size or steps.min() < 0 or steps.max() > MAX_DELAY:
        found = f"{seconds.min():g} to {seconds.max():g} s" if seconds.size else "empty"
        raise RefusedInput(f"{where}: delay is {found}; expected 0 to {MAX_DELAY} time steps of {dt} s")
    whole = np.rint(steps)
    odd = np.abs(steps - whole) > np.maximum(whole, 1) * 2.0**-20
    if odd.any():
        raise RefusedInput(f"{where}: delay is {seconds[odd].flat[0]:g} s; expected multiples of dt = {dt} s")
    return whole.astype(np.int64)


def check_declared_shape(declared: object, shape: Shape, where: str) -> None:
    """Refuse a node that declares another input shape than it has.

    Raises:
        RefusedInput: it does.
    """
    if not np.array_equal(np.atleast_1d(np.asarray(declared)), shape):
        raise RefusedInput(
            f"{where} declares the input shape {shown(np.asarray(declared).tolist())}; it has {list(shape)}"
        )


def gain(r: Float32, dt: float) -> Float32:
    """`dt r`, computed in the type of r: in float32, 1e-4 times 1e4 is exactly 1."""
    return np.asarray(r.dtype.type(dt) * r)


def neuron_node(kind: type[N], shape: Shape, **parameters: object) -> N:
    """A node of NIR for neurons of `shape`, whose parameters are broadcast to it, in float32."""
    return kind(
        **{key: np.broadcast_to(np.asarray(values), shape).astype(np.float32) for key, values in parameters.items()}
    )
