"""Checkpoints of the published SpikeCLIP code (class `Vision_Encoder`, arXiv 2310.06488): read, mapped, checked.

Such a file is PyTorch's (`.pth`, `.pth.tar`): a dictionary whose entry `state_dict` holds the tensors, saved under
DistributedDataParallel as a rule, so that names may start with `module.`.  Every size follows from the tensors' shapes,
except the number of attention heads and the size of the images.
"""

import argparse
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from neuromorphic.errors import RefusedInput, named, shown
from spikeclip.config import SpikeClipConfig
from spikeclip.encoder import Encoder
from spikeclip.preprocess import CLIP_SAMPLES, Preprocessing

SUFFIXES = (".pth", ".pt", ".tar")
"""Endings of PyTorch's files; everything else is taken for safetensors."""

IMAGE_SIZE = 32
"""Pixels that the published recipe resizes images to."""

CLIP_MEAN = tuple(255 * mean for mean in (0.48145466, 0.4578275, 0.40821073))
CLIP_STD = tuple(255 * std for std in (0.26862954, 0.26130258, 0.27577711))
"""CLIP's image normalisation, in pixel units, which the published recipe applies."""

SHOWN = 5
"""Tensors that a refusal lists by name."""

_STATISTICS = ("weight", "bias", "running_mean", "running_var")

_PARTS = ("q", "k", "v")


WEIGHTS = ("state_dict", "model_state_dict", "model", "net")
"""Entries that training scripts save their tensors as, the preferred first; or a file is the dictionary itself."""

AVERAGED = ("state_dict_ema", "model_ema", "ema", "ema_state_dict", "model_ema_state_dict")
"""Entries of weights averaged over training (EMA): read where there are no others."""


def load_published(path: Path, heads: int | None, image_size: int | None = None) -> tuple[Encoder, Preprocessing, str]:
    """The encoder of a published checkpoint in evaluation mode, the published recipe's preprocessing, and a sentence.

    The sentence says which of the file's tensors were taken, where it has several sets of them.

    Args:
        path: a PyTorch file; read with `weights_only=True`, so that nothing in it is executed.
        heads: attention heads: the published recipe passes 8, its class has 12 by default.
        image_size: height and width in pixels; 32 by default.

    Raises:
        RefusedInput: the file is not readable or holds other tensors; each one that is wrong is named.
    """
    state, taken = read_state(path)
    if "patch_embed.block0_conv.weight" not in state:
        raise RefusedInput(
            f"{path}: tensor patch_embed.block0_conv.weight is missing: not the published Vision_Encoder; expected, of "
            f"another network, the code that makes it: --module FILE.py:FACTORY --weights {path}"
        )
    config = find_config(state, path, heads, image_size or IMAGE_SIZE)
    check_state(state, published_shapes(config), path, "Vision_Encoder")
    encoder = Encoder(config)
    encoder.load_state_dict(map_state(state, config))
    channels = config.image_channels
    if channels != len(CLIP_MEAN):
        raise RefusedInput(f"{path}: reads {channels} channels; expected 3, as CLIP's image normalisation has")
    return encoder.eval(), Preprocessing(config.image_size, CLIP_MEAN, CLIP_STD, CLIP_SAMPLES), taken


def read_state(path: Path, kind: str = "Vision_Encoder") -> tuple[dict[str, Tensor], str]:
    """The tensors of a PyTorch file by name, without `module.`, in float32 (counters as they are).

    Args:
        path: of the file.
        kind: the class that it is expected to be of.

    Returns:
        The tensors, and a sentence on which of several sets of them these are; empty where there is one.

    Raises:
        RefusedInput: the file is not readable without executing code from it, or holds no tensors.
    """
    try:
        # A saved command line (timm's CheckpointSaver adds one) is a harmless object: names and values.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what torch warns of is refused below, in one sentence
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises whatever zipfile, pickle and its own unpickler do
        raise RefusedInput(f"{path}: {_why_unreadable(error)}") from error
    entry, state = _choose(content)
    if state is None:
        raise RefusedInput(f"{path}: holds no state_dict of tensors; expected that of {kind}")
    named = {bare(str(name)): tensor for name, tensor in state.items()}
    if len(named) < len(state):
        count = Counter(bare(str(name)) for name in state)
        twice = next(str(name) for name in state if bare(str(name)) != name and count[bare(str(name))] > 1)
        raise RefusedInput(f"{path}: {shown(twice)} stands there without module. too; expected every name once")
    for name, tensor in named.items():
        if odd := _odd(tensor):
            raise RefusedInput(f"{path}: {shown(name)} is {odd}; expected ordinary numbers, all of them in the file")
    others = [key for key in (*WEIGHTS, *AVERAGED) if entry and key != entry and _tensors(content.get(key))]
    taken = f"weights: {entry}" + (" (averaged, EMA)" if entry in AVERAGED else "") if entry else ""
    taken += f"; not its {', '.join(others)}" if others else ""
    found = {name: t.float() if t.is_floating_point() else t for name, t in named.items()}
    return found, taken if others or entry not in WEIGHTS else ""


def bare(name: str) -> str:
    """A tensor's name without what wrappers put before it: DataParallel `module.`, torch.compile `_orig_mod.`."""
    while (shorter := name.removeprefix("module.").removeprefix("_orig_mod.")) != name:
        name = shorter
    return name


def _choose(content: object) -> tuple[str, Mapping[str, Tensor] | None]:
    """The entry with the tensors, "" where the file has no entries, and the tensors; None where there are none.

    A name that no list above has is read where its entry alone holds nothing but tensors.
    """
    if not isinstance(content, Mapping):
        return "", None
    for key in (*WEIGHTS, *AVERAGED):
        if key in content and not isinstance(content[key], Tensor):
            state = _tensors(content[key])
            if state is not None or key == WEIGHTS[0]:
                return key, state
    if _tensors(content) is None and len(others := [key for key in content if _tensors(content[key])]) == 1:
        return str(others[0]), _tensors(content[others[0]])
    return "", _tensors(content)


def _tensors(state: object) -> Mapping[str, Tensor] | None:
    """`state`, if it is a dictionary of nothing but tensors, and of some."""
    if not isinstance(state, Mapping) or not state or not all(isinstance(t, Tensor) for t in state.values()):
        return None
    return state


def _odd(tensor: Tensor) -> str:
    """Why a tensor is no array of real numbers; empty where it is one."""
    if tensor.is_quantized:
        return "quantised"
    if tensor.layout != torch.strided:
        return "sparse"
    if tensor.is_meta:
        return "without numbers (on the meta device)"
    return "complex" if tensor.is_complex() else ""


def _why_unreadable(error: Exception) -> str:
    """The meaning of a refusal of `torch.load`, and what to save instead."""
    found = re.search(r"GLOBAL ([\w.]+)", str(error))
    unreadable = "not readable as a PyTorch file of tensors"
    if found is None and "weights_only" not in str(error):
        return f"{unreadable}; expected a dictionary with state_dict, saved by torch.save"
    what = found[1] if found else "a TorchScript program" if "TorchScript" in str(error) else "pickled objects"
    return (
        f"{unreadable}: it holds {what}, which takes executing code from the file; expected what "
        "torch.save(model.state_dict(), FILE) writes where the model was made"
    )


def find_config(state: Mapping[str, Tensor], path: Path, heads: int | None, image_size: int) -> SpikeClipConfig:
    """The sizes that the tensors' shapes tell.

    Raises:
        RefusedInput: a tensor that tells one is missing or has another number of dimensions, or `heads` is None.
    """
    patches = find_shape(state, "patch_embed.block0_conv.weight", 4, path)
    width = find_shape(state, "patch_embed.block4_conv.weight", 4, path)[0]
    hidden = find_shape(state, "block.0.mlp.mlp1_conv.weight", 4, path)[0]
    blocks = {int(found[1]) for name in state if (found := re.match(r"block\.(\d+)\.", name))}
    if heads is None:
        raise RefusedInput(
            f"{path}: a published checkpoint doesn't hold its number of attention heads; expected --heads N "
            "(the published recipe passes 8, its class has 12 by default)"
        )
    steps, embedding = find_shape(state, "weights_tensor", 3, path)[1], find_shape(state, "proj.weight", 2, path)[0]
    with named(path):
        return SpikeClipConfig(
            architecture="paper",
            width=width,
            depth=max(blocks) + 1,
            heads=heads,
            mlp_ratio=hidden // width if hidden % width == 0 else (hidden + 0.5) / width,
            time_steps=steps,
            image_size=image_size,
            image_channels=patches[1],
            embedding_width=embedding,
        )


def map_state(state: Mapping[str, Tensor], config: SpikeClipConfig) -> dict[str, Tensor]:
    """The tensors under the names of `Encoder`: Q, K and V stacked, `Conv1d` kernels as 1×1 kernels of `Conv2d`."""
    mapped = {
        "time_weights": state["weights_tensor"].reshape(-1),
        "head.weight": state["proj.weight"],
        "head.bias": state["proj.bias"],
    }
    for ours, theirs in _layers(config):
        convolutions = [f"{name}_conv" for name in theirs]
        for kind in ("weight", "bias"):
            if f"{convolutions[0]}.{kind}" in state:
                mapped[f"{ours}.conv.{kind}"] = torch.cat([state[f"{name}.{kind}"] for name in convolutions])
        kernel = mapped[f"{ours}.conv.weight"]
        mapped[f"{ours}.conv.weight"] = kernel.unsqueeze(-1) if kernel.ndim == 3 else kernel
        for kind in _STATISTICS:
            mapped[f"{ours}.bn.{kind}"] = torch.cat([state[f"{name}_bn.{kind}"] for name in theirs])
        counter = state.get(f"{theirs[0]}_bn.num_batches_tracked", torch.tensor(0))
        mapped[f"{ours}.bn.num_batches_tracked"] = counter
    return mapped


def describe(config: SpikeClipConfig) -> str:
    """The sizes of a published encoder in one line."""
    parameters = sum(p.numel() for p in _skeleton(config).parameters())
    return (
        f"width {config.width}, blocks {config.depth}, heads {config.heads} of {config.width // config.heads} channels,"
        f" MLP of {config.hidden_width}, T = {config.time_steps}, {config.image_size}×{config.image_size} pixels, "
        f"embedding of {config.embedding_width}, {parameters:,} parameters"
    )


def _skeleton(config: SpikeClipConfig) -> Encoder:
    with torch.device("meta"):
        return Encoder(config)


def _layers(config: SpikeClipConfig) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each convolution with its normalisation: our name, and the published one (three of them for Q, K, V)."""
    for i in range(4):
        yield f"stem.layers.{i}.synapse", (f"patch_embed.block{i}",)
    yield "stem.tokens", ("patch_embed.block4",)
    for i in range(config.depth):
        yield f"block.{i}.attn.qkv.synapse", tuple(f"block.{i}.attn.{part}" for part in _PARTS)
        yield f"block.{i}.attn.proj", (f"block.{i}.attn.proj",)
        yield f"block.{i}.mlp.hidden.synapse", (f"block.{i}.mlp.mlp1",)
        yield f"block.{i}.mlp.proj", (f"block.{i}.mlp.mlp2",)


def published_shapes(config: SpikeClipConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of the tensors of a published checkpoint of these sizes, counters of batch normalisation left out."""
    ours = {name: tuple(tensor.shape) for name, tensor in _skeleton(config).state_dict().items()}
    shapes: dict[str, tuple[int, ...]] = {
        "weights_tensor": (1, config.time_steps, 1),
        "proj.weight": ours["head.weight"],
        "proj.bias": ours["head.bias"],
    }
    for name, theirs in _layers(config):
        for part in theirs:
            out, *kernel = ours[f"{name}.conv.weight"]
            # Attention's convolutions are Conv1d over the tokens.
            shapes[f"{part}_conv.weight"] = (out // len(theirs), *(kernel[:2] if ".attn." in part else kernel))
            if f"{name}.conv.bias" in ours:
                shapes[f"{part}_conv.bias"] = (out,)
            shapes |= {f"{part}_bn.{kind}": (out // len(theirs),) for kind in _STATISTICS}
    return shapes


def check_state(state: Mapping[str, Tensor], expected: dict[str, tuple[int, ...]], path: Path, kind: str) -> None:
    """Refuse tensors of other names or shapes than those of the published class `kind`, or that aren't finite.

    Raises:
        RefusedInput: each one that is wrong is named, up to `SHOWN`.
    """
    found = {name: t for name, t in state.items() if not name.endswith("num_batches_tracked")}
    wrong = [f"{name} is missing" for name in expected if name not in found]
    wrong += [f"{name} is unknown" for name in found if name not in expected]
    for name in expected.keys() & found.keys():
        if tuple(found[name].shape) != expected[name]:
            wrong.append(f"{name} has the shape {list(found[name].shape)}, expected {list(expected[name])}")
        elif not torch.isfinite(found[name]).all():
            wrong.append(f"{name} holds values that are not finite")
    if wrong:
        more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise RefusedInput(f"{path}: not the published {kind}: {'; '.join(sorted(wrong)[:SHOWN])}{more}")


def find_shape(
    state: Mapping[str, Tensor], name: str, dimensions: int, path: Path, kind: str = "Vision_Encoder"
) -> tuple[int, ...]:
    """The shape of the tensor `name` of a published class.

    Raises:
        RefusedInput: it is missing, is empty or has another number of dimensions.
    """
    if name not in state or state[name].ndim != dimensions or not state[name].numel():
        what = f"has the shape {list(state[name].shape)}" if name in state else "is missing"
        raise RefusedInput(
            f"{path}: tensor {name} {what}; expected {dimensions} dimensions, as in the published {kind}"
        )
    return tuple(state[name].shape)
