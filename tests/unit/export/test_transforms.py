# SPDX-License-Identifier: Apache-2.0
"""Transforms of an export do what torchvision's do, at any image size and in every runtime."""

from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from anomalib.data.transforms import ExportableCenterCrop as AnomalibCenterCrop
from torch import Tensor, nn
from torch.export import Dim
from torchvision.transforms.v2 import CenterCrop, Compose, InterpolationMode, Normalize, Resize, Transform

from rd_plugin.export import ExportableCenterCrop, ExportableResize, exportable

# Smaller and larger than what they are resized to, in both directions and in one; odd and even differences.
SIZES = ((32, 24), (64, 48), (97, 130), (131, 98), (50, 200), (301, 200), (63, 66), (66, 63))

EXPORTED = {
    "bilinear": Compose([Resize((64, 48)), Normalize([0.4] * 3, [0.2] * 3)]),
    "bicubic": Resize((64, 48), interpolation="bicubic"),
    "shorter side": Compose([Resize(64), CenterCrop(48)]),
    "crop first": Compose([CenterCrop((100, 75)), Compose([Resize((64, 64))])]),
    "crop": AnomalibCenterCrop((65, 64)),
}
ALIKE = [
    Resize(64),
    Resize([64, 48], interpolation=InterpolationMode.BICUBIC),
    Resize((64, 48), interpolation=2),
    Resize((64, 48), antialias=False),
    Compose([Resize((64, 64)), CenterCrop(48)]),
]


class Module(nn.Module):
    def __init__(self, transform: Transform) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, images: Tensor) -> Tensor:
        return self.transform(images)


def export(transform: Transform, path: Path, *sides: int) -> Path:
    """Export a transform for images of any size, or of one."""
    example = torch.rand(2, 3, *(sides or (97, 130)))
    torch.onnx.export(
        Module(exportable(transform)).eval(),
        (example,),
        path,
        opset_version=18,
        dynamo=True,
        dynamic_shapes=(dict.fromkeys([0] if sides else [0, 2, 3], Dim.DYNAMIC),),
        input_names=["input"],
        verbose=False,
    )
    return path


def check(
    transform: Transform, path: Path, *sizes: tuple[int, int], precision: str = "f32", atol: float = 3e-5
) -> None:
    session = onnxruntime.InferenceSession(path)
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": precision})
    for size in sizes:
        images = torch.rand(2, 3, *size)
        expected = transform(images).numpy()
        np.testing.assert_allclose(session.run(None, {"input": images.numpy()})[0], expected, rtol=0, atol=3e-5)
        np.testing.assert_allclose(compiled(images.numpy())[0], expected, rtol=0, atol=atol)


# The test below exports a bilinear resize, too; and the larger crop is that of "crop first".
SLOW = {"bilinear", "crop"}


@pytest.mark.parametrize(
    "transform",
    [pytest.param(each, id=name, marks=[pytest.mark.slow] * (name in SLOW)) for name, each in EXPORTED.items()],
)
def test_exports_do_the_same(transform: Transform, tmp_path: Path) -> None:
    check(transform, export(transform, tmp_path / "any.onnx"), *SIZES)


@pytest.mark.slow
@pytest.mark.parametrize("transform", EXPORTED.values(), ids=EXPORTED.keys())
def test_exports_of_one_size_do_the_same(transform: Transform, tmp_path: Path) -> None:
    check(transform, export(transform, tmp_path / "one.onnx", 97, 130), (97, 130))


@pytest.mark.parametrize("size", SIZES)
def test_outside_of_a_trace_torchvision_itself_is_called(size: tuple[int, int]) -> None:
    images = torch.rand(2, 3, *size)
    for transform in [*EXPORTED.values(), *ALIKE]:
        assert torch.equal(exportable(transform)(images), transform(images))


def test_bfloat16_costs_no_more_than_its_rounding(tmp_path: Path) -> None:
    """Positions in bfloat16 would be pixels off."""
    resize = Resize((64, 48))
    path = export(resize, tmp_path / "any.onnx")
    # Half a unit in the last place of bfloat16 is 2 ** -9 of the value; pixels, weights and sums are rounded.
    check(resize, path, (64, 48), (97, 130), (600, 800), precision="bf16", atol=6 * 2**-9)


def test_parts_that_no_export_spoils_are_kept() -> None:
    normalize, nearest = Normalize([0.5] * 3, [0.5] * 3), Resize(8, interpolation=InterpolationMode.NEAREST)
    plain = Resize(8, antialias=False)
    resize, by_number, crop, *others = exportable(
        Compose([Resize(9), Resize(9, interpolation=3), CenterCrop(8), normalize, nearest, plain])
    ).transforms
    assert type(resize) is type(by_number) is ExportableResize
    assert type(crop) is ExportableCenterCrop
    assert others == [normalize, nearest, plain]
    assert exportable(None) is None


def test_size_that_cannot_be_stated_is_named(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="Resize with max_size=100 cannot be exported: give size as height and width"):
        export(Resize(64, max_size=100), tmp_path / "any.onnx")
