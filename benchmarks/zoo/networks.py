"""The networks: SpikingJelly's zoo, public repositories' models, and small ones as people write them, narrow.

Weights are random; normalisations have the statistics of random inputs, and are then perturbed.
"""

import importlib.util
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from spikingjelly.activation_based import functional, layer, neuron
from spikingjelly.activation_based.model import (
    masnn,
    maxformer,
    ms_resnet,
    parametric_lif_net,
    qkformer,
    sew_resnet,
    spike_driven_transformer,
    spikformer,
    spiking_resnet,
    spiking_vgg,
)
from torch import Tensor, nn

from benchmarks.zoo.written import CSNN, Einops, SingleStep, SnnTorchLoop, converted


@dataclass(frozen=True)
class Network:
    """A network of the zoo.

    Attributes:
        make: the module; of public ones, with the folder of clones.
        shape: of an example.
        axes: of it.
        time_steps: T.
        events: whether it reads spikes.
    """

    make: Callable[[Path], nn.Module]
    shape: tuple[int, ...]
    axes: str = "BCHW"
    time_steps: int = 4
    events: bool = False


class Presented(nn.Module):
    """A network that reads frames, on an image that is shown T times."""

    def __init__(self, net: nn.Module, steps: int = 4) -> None:
        super().__init__()
        self.net, self.steps = net, steps

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.net(x.unsqueeze(0).repeat(self.steps, 1, 1, 1, 1))
        return result


class Averaged(nn.Module):
    """A network that returns `[B, T, classes]`, averaged over time as its authors evaluate it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.net(x).mean(1)
        return result


def multi_step(net: nn.Module) -> nn.Module:
    """The same network, with every layer in multi-step mode (`step_mode="m"`)."""
    functional.set_step_mode(net, "m")
    return net


def _resnet(kind: Any, block: Any, **settings: Any) -> nn.Module:
    return Presented(multi_step(kind(block, [1, 1, 1, 1], num_classes=10, **settings)))


def _sew(connection: str, spiking: Any = neuron.LIFNode, **settings: Any) -> nn.Module:
    return _resnet(sew_resnet.SEWResNet, sew_resnet.BasicBlock, cnf=connection, spiking_neuron=spiking, **settings)


def _vgg() -> nn.Module:
    net = spiking_vgg.SpikingVGG(
        [8, "M", 16, "M", 32, "M", 32, "M"], batch_norm=True, num_classes=10, spiking_neuron=neuron.LIFNode, tau=2.0
    )
    net.avgpool = layer.AdaptiveAvgPool2d((1, 1))
    net.classifier = nn.Sequential(layer.Linear(32, 64), neuron.LIFNode(tau=2.0), layer.Dropout(), layer.Linear(64, 10))
    return Presented(multi_step(net))


def _parametric(net: Any, spread: bool = False) -> nn.Module:
    made = multi_step(net(8, neuron.ParametricLIFNode, init_tau=2.0))
    for part in made.modules():
        if spread and isinstance(part, neuron.ParametricLIFNode):
            nn.init.normal_(part.w, 0.3, 0.2)
    return made


def public(folder: Path, path: str) -> ModuleType:
    """A file of a clone, as a module."""
    file = folder / path
    name = "zoo_" + path.replace("/", "_").replace("-", "_").removesuffix(".py")
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None or not file.is_file():
        raise FileNotFoundError(f"{file}: expected a clone of {path.split('/')[0]}")
    found = importlib.util.module_from_spec(spec)
    sys.modules[name] = found
    spec.loader.exec_module(found)
    return found


SMALL = {"img_size_h": 32, "img_size_w": 32, "patch_size": 4, "in_channels": 3, "num_classes": 10, "mlp_ratios": 4}


def _package(folder: Path, name: str) -> Any:
    """A module of a clone whose files import each other by names that those of other clones have too."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module(name)
    finally:
        sys.path.pop(0)
        for new in set(sys.modules) - before:
            if str(getattr(sys.modules[new], "__file__", None)).startswith(str(folder)):
                del sys.modules[new]


def _public_sdt(folder: Path, **settings: Any) -> nn.Module:
    kind = _package(folder / "Spike-Driven-Transformer", "model.spikeformer").SpikeDrivenTransformer
    sizes = {**SMALL, "embed_dims": 48, "num_heads": 4, "depths": 1, "T": 4, "pooling_stat": "0011"}
    made: nn.Module = kind(**{**sizes, **settings})
    return made


def _public_sdt_v2(folder: Path) -> nn.Module:
    models = public(folder, "Spike-Driven-Transformer-V2/classification/models.py")
    sizes = {**SMALL, "patch_size": 16, "embed_dim": [16, 32, 64, 80], "num_heads": 4, "depths": 8}
    net: nn.Module = models.Spiking_vit_MetaFormer(**sizes)
    net.T = 4
    return net


def _public_sew(folder: Path, connection: str) -> nn.Module:
    block = {"up_kernel_size": 1, "num_blocks": 1, "block_type": "sew", "k_pool": 2}
    config = [{**block, "channels": c, "mid_channels": c} for c in (8, 8, 8, 16, 16, 16, 16)]
    net: nn.Module = public(folder, "Spike-Element-Wise-ResNet/cifar10dvs/smodels.py").ResNetN(config, 10, connection)
    return net


def _public_ms(folder: Path) -> nn.Module:
    models = public(folder, "MS-ResNet/models/MS_ResNet.py")
    net: nn.Module = models.ResNet_origin_18(models.BasicBlock_18, [1, 1, 1, 1], 10)
    return net


def _public_tet(folder: Path) -> nn.Module:
    models = _package(folder / "temporal_efficient_training", "models.resnet_models")
    net: nn.Module = models.ResNet(models.BasicBlock, [1, 1, 1])
    net.T = 4
    return Averaged(net)


def _public_stbp(folder: Path) -> nn.Module:
    models = _package(folder / "STBP-simple", "model")
    models.steps = 2  # a name that its code reads and no file of it has
    net: nn.Module = models.MNISTNet()
    return net


def _public(path: str, kind: str, **settings: Any) -> Callable[[Path], nn.Module]:
    return lambda folder: getattr(public(folder, path), kind)(**{**SMALL, **settings})


def calibrated(net: nn.Module, network: Network, seed: int) -> nn.Module:
    """A module with running statistics of random inputs, perturbed, and offsets that make neurons fire."""
    torch.manual_seed(seed)
    norms = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = None
        norm.reset_running_stats()
        if norm.weight is not None:
            nn.init.uniform_(norm.weight, 0.6, 1.6)
            nn.init.uniform_(norm.bias, -0.1, 0.9)
    net.train(bool(norms))
    with torch.no_grad():
        for _ in range(2):
            spikes = (torch.rand(network.shape) < 0.2).float()
            functional.reset_net(net)
            net(spikes if network.events else torch.randint(-128, 128, network.shape).float() / 64)
    functional.reset_net(net)
    for norm in norms:
        norm.running_mean += 0.1 * torch.randn_like(norm.running_mean) * norm.running_var.sqrt()
        norm.running_var *= torch.empty_like(norm.running_var).uniform_(0.7, 1.4)
    return net.eval()


IMAGE, LITTLE = (2, 3, 32, 32), (2, 3, 16, 16)
_Q = {"T": 4, "num_classes": 10, "embed_dims": 64, "num_heads": (2, 2, 2), "depths": (1, 1, 1)}
_M = {"T": 4, "num_classes": 10, "embed_dims": 64, "depths": (1, 1, 1)}


def _dvs(make: Callable[[Path], nn.Module], steps: int = 4, size: int = 128, axes: str = "TBCHW") -> Network:
    shape = (steps, 2, 2, size, size) if axes[0] == "T" else (2, steps, 2, size, size)
    return Network(make, shape, axes, steps, events=True)


SPIKINGJELLY: dict[str, Network] = {
    "Spikformer": Network(
        lambda _: spikformer.Spikformer(
            T=4, img_size_h=32, img_size_w=32, patch_size=4, num_classes=10, embed_dims=64, num_heads=4, depths=2
        ),
        IMAGE,
    ),
    "QKFormer, token": Network(lambda _: qkformer.QKFormer(**_Q), IMAGE),
    "QKFormer, channel": Network(lambda _: qkformer.QKFormer(**_Q, qka_type="channel"), IMAGE),
    "Spike-driven transformer": Network(
        lambda _: spike_driven_transformer.SpikeDrivenTransformer(
            T=4, num_classes=10, embed_dims=64, num_heads=4, depths=2, pooling_stat="0011"
        ),
        IMAGE,
    ),
    "MaxFormer, CIFAR": Network(lambda _: maxformer.MaxFormer(**_M, cifar=True), LITTLE),
    "MaxFormer": Network(lambda _: maxformer.MaxFormer(**_M), IMAGE),
    "SEW-ResNet ADD": Network(lambda _: _sew("ADD", tau=2.0), IMAGE),
    "SEW-ResNet ADD, IF": Network(lambda _: _sew("ADD", neuron.IFNode), IMAGE),
    "SEW-ResNet AND": Network(lambda _: _sew("AND", tau=2.0), IMAGE),
    "SEW-ResNet IAND": Network(lambda _: _sew("IAND", tau=2.0), IMAGE),
    "Spiking-ResNet": Network(
        lambda _: _resnet(
            spiking_resnet.SpikingResNet, spiking_resnet.BasicBlock, spiking_neuron=neuron.LIFNode, tau=2.0
        ),
        IMAGE,
    ),
    "MS-ResNet, tau 4/3": Network(
        lambda _: ms_resnet.MSResNet(T=6, num_classes=10, layers=(1, 1, 1, 1), base_channels=8), IMAGE, time_steps=6
    ),
    "Max-ResNet": Network(
        lambda _: ms_resnet.MaxResNet(
            T=4, num_classes=10, layers=(1, 1, 1), base_channels=8, stem_kernel_size=3, stem_stride=1
        ),
        LITTLE,
    ),
    "Spiking VGG": Network(lambda _: _vgg(), IMAGE),
    "PLIF net, CIFAR10-DVS": _dvs(lambda _: _parametric(parametric_lif_net.CIFAR10DVSNet)),
    "PLIF net, DVS Gesture": _dvs(lambda _: _parametric(parametric_lif_net.DVSGestureNet), 16),
    "PLIF net, tau of each its own": _dvs(lambda _: _parametric(parametric_lif_net.CIFAR10DVSNet, spread=True)),
    "MA-SNN": _dvs(lambda _: masnn.MASNN(T=5, num_classes=10, channels=(8, 8, 8)), 5, 32),
}
"""SpikingJelly's own models."""

WRITTEN: dict[str, Network] = {
    "CSNN, IF": _dvs(lambda _: CSNN(), 16, 32),
    "CSNN, IF, soft reset": _dvs(lambda _: CSNN(v_reset=None), 16, 32),
    "CSNN, LIF, tau 1.333": _dvs(lambda _: CSNN(neuron.LIFNode, tau=1.333), 8, 32),
    "CSNN, LIF, soft reset": _dvs(lambda _: CSNN(neuron.LIFNode, tau=2.0, v_reset=None), 8, 32),
    "loop over single steps": Network(lambda _: SingleStep(), LITTLE),
    "ann2snn": Network(lambda _: converted(), LITTLE, time_steps=16),
    "einops": Network(lambda _: Einops(), IMAGE),
    "snnTorch's tutorial": Network(lambda _: SnnTorchLoop(), IMAGE),
    "snnTorch's tutorial, reset to zero": Network(lambda _: SnnTorchLoop(reset="zero"), IMAGE),
}
"""Small networks as tutorials and students write them."""

PUBLIC: dict[str, Network] = {
    "Spikformer, public": Network(
        _public("spikformer/cifar10/model.py", "Spikformer", embed_dims=48, num_heads=4, depths=2, T=4), IMAGE
    ),
    "Spikformer, public, DVS": _dvs(
        _public(
            "spikformer/cifar10dvs/model.py", "Spikformer",
            img_size_h=128, img_size_w=128, patch_size=16, in_channels=2, embed_dims=64, num_heads=4, depths=1,
        ),
        axes="BTCHW",
    ),
    "QKFormer, public": Network(
        _public("QKFormer/cifar10/model.py", "spiking_transformer", embed_dims=64, num_heads=8, depths=3, T=4), IMAGE
    ),
    "QKFormer, public, one image": Network(
        _public("QKFormer/cifar10/model.py", "spiking_transformer", embed_dims=64, num_heads=8, depths=3, T=4),
        (1, 3, 32, 32),
    ),
    "Spikingformer, public": Network(
        _public("Spikingformer/cifar10/model.py", "vit_snn", embed_dims=48, num_heads=4, depths=1, T=4), IMAGE
    ),
    "SDT V1, public": Network(_public_sdt, IMAGE),
    "SDT V1, public, PLIF": Network(lambda folder: _public_sdt(folder, spike_mode="plif"), IMAGE),
    "SDT V1, public, DVS": _dvs(
        lambda folder: _public_sdt(folder, in_channels=2, dvs_mode=True, TET=True), size=32, axes="BTCHW"
    ),
    "SDT V2, public": Network(_public_sdt_v2, IMAGE),
    "SEW-ResNet ADD, public, DVS": _dvs(lambda folder: _public_sew(folder, "ADD"), axes="BTCHW"),
    "SEW-ResNet AND, public, DVS": _dvs(lambda folder: _public_sew(folder, "AND"), axes="BTCHW"),
    "MS-ResNet, public": Network(_public_ms, IMAGE, time_steps=6),
    "TET ResNet, public": Network(_public_tet, LITTLE),
    "STBP, public": Network(_public_stbp, (2, 1, 28, 28, 2), "BCHWT", 2),
}  # fmt: skip
"""Models of public repositories, from clones."""

ZOO = {**SPIKINGJELLY, **WRITTEN, **PUBLIC}


def made(name: str, folder: Path, seed: int) -> nn.Module:
    """A network of the zoo, with random weights and calibrated normalisations."""
    torch.manual_seed(seed)
    random.seed(seed)
    network = ZOO[name]
    return calibrated(network.make(folder), network, seed)
