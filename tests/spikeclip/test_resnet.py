"""The residual network that teaches: its sizes, what it computes, and its checkpoint."""

import json
import struct

import pytest
import torch
import torch.nn.functional as F

from spikeclip.config import SpikeClipConfig
from spikeclip.errors import RefusedInput
from spikeclip.preprocess import Preprocessing
from spikeclip.resnet import ResidualBlock, ResNet
from spikeclip.teacher import load_teacher
from spikeclip.twin_checkpoint import TwinCheckpoint, load_twin, save_twin

CONFIG = SpikeClipConfig(width=16, depth=1, image_size=16, embedding_width=10)


def test_it_has_the_parameters_of_the_resnet_18_of_cifar_10():
    assert sum(p.numel() for p in ResNet(CONFIG).parameters()) == 11_173_962  # github.com/kuangliu/pytorch-cifar


@pytest.mark.parametrize(("before", "after", "stride"), [(4, 4, 1), (4, 6, 1), (4, 6, 2), (4, 4, 2)])
def test_a_block_adds_two_convolutions_to_its_shortcut(before, after, stride):
    torch.manual_seed(0)
    block = ResidualBlock(before, after, stride).double().eval()
    for norm in (m for m in block.modules() if isinstance(m, torch.nn.BatchNorm2d)):
        torch.nn.init.normal_(norm.running_mean)
        torch.nn.init.uniform_(norm.running_var, 0.5, 2)
    x = torch.randn(2, before, 6, 6, dtype=torch.float64)

    def normed(x, conv, norm):
        y = F.conv2d(x, conv.weight, stride=conv.stride, padding=(conv.weight.shape[-1] - 1) // 2)
        scale = (norm.running_var + norm.eps).rsqrt() * norm.weight
        return (y - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]

    first, second = block.residual[:2], block.residual[3:]
    shortcut = x if stride == 1 and before == after else normed(x, *block.shortcut)
    expected = (shortcut + normed(normed(x, *first).clamp(min=0), *second)).clamp(min=0)
    torch.testing.assert_close(block(x), expected)


def checkpoint():
    torch.manual_seed(1)
    model = ResNet(CONFIG).eval().requires_grad_(False)
    return TwinCheckpoint(model, CONFIG, Preprocessing(16), ("dark", "bright"), 7.5, True, {"test": None})


def test_a_teacher_is_read_from_its_checkpoint_and_computes_the_same(tmp_path):
    made = checkpoint()
    save_twin(made, tmp_path / "teacher.safetensors")
    images = torch.randint(0, 256, (3, 16, 16, 3), dtype=torch.uint8)
    teacher = load_teacher(str(tmp_path / "teacher.safetensors"))
    expected = made.model(torch.from_numpy(made.preprocessing(images.numpy())))
    torch.testing.assert_close(teacher.features(images), expected)
    assert (teacher.scale, teacher.cosine) == (7.5, "centred")


def test_images_of_another_size_are_refused():
    from spikeclip.teacher import TwinTeacher

    with pytest.raises(RefusedInput, match=r"images have the shape \(8, 8, 3\); expected \(16, 16, 3\)"):
        TwinTeacher(checkpoint()).features(torch.zeros(1, 8, 8, 3, dtype=torch.uint8))


def test_a_network_of_another_name_is_refused(tmp_path):
    path = tmp_path / "teacher.safetensors"
    save_twin(checkpoint(), path)
    content = path.read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    told = json.loads(header["__metadata__"]["spikeclip"])
    header["__metadata__"]["spikeclip"] = json.dumps({**told, "network": "vgg"})
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + length :])
    with pytest.raises(RefusedInput, match="holds a network 'vgg'; expected twin or resnet"):
        load_twin(path)
