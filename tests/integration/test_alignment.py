# SPDX-License-Identifier: Apache-2.0
"""A model that aligns images: trained, restored, exported, and what its rows say."""

from pathlib import Path

import numpy as np
import pytest
import torch
from anomalib.data import Folder
from anomalib.deploy import CompressionType
from PIL import Image
from torch import Tensor

from rd_plugin import FusedReverseDistillation, ReverseDistillation
from rd_plugin.inspection import Inspector
from rd_plugin.models.distillation import Distillation
from rd_plugin.provenance import Provenance
from rd_plugin.results import NOT_REGISTERED, InspectionResult

from ..moved_parts import SIDE, parts, view
from .conftest import cpu_engine

SMALL = {"backbone": "test_resnet", "layers": ["layer1"], "pre_trained": False, "image_size": SIDE // 2}
# Of the images that are inspected: a part in its place, moved, and turned.
PLACES = ("usual", "moved", "turned")


def _good(count: int, seed: int = 0) -> Tensor:
    return (0.5 * view(parts(count, seed)) + 0.2).clamp(0, 1)


@pytest.fixture(scope="module")
def images() -> Tensor:
    usual = parts(1, seed=3)
    found = torch.cat([view(usual), view(usual, 9, -6), view(usual).rot90(1, (2, 3))])
    return ((0.5 * found + 0.2).clamp(0, 1) * 255).round() / 255


def _save(images: Tensor, folder: Path) -> None:
    folder.mkdir(parents=True)
    for index, image in enumerate(images):
        Image.fromarray((image.permute(1, 2, 0) * 255).round().byte().numpy()).save(folder / f"{index:02}.png")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    root = tmp_path_factory.mktemp("moved")
    _save(_good(16), root / "good")
    return Folder("parts", root=root, normal_dir="good", train_batch_size=4, num_workers=0, val_split_ratio=0.5)


@pytest.fixture(scope="module")
def trained(data: Folder, tmp_path_factory: pytest.TempPathFactory) -> tuple[Distillation, Path]:
    """A trained model that aligns, and its checkpoint."""
    folder = tmp_path_factory.mktemp("trained")
    model = FusedReverseDistillation(**SMALL, align="translation", visualizer=False, report=False)
    engine = cpu_engine(folder, max_steps=3, logger=False, devices=1)
    engine.fit(model, datamodule=data)
    # One that cuts no score off.
    scale = {"min": 0.0, "max": 20.0, "threshold": 10.0}
    for name, buffer in model.post_processor.named_buffers():
        if (value := scale.get(name.rpartition("_")[2])) is not None:
            buffer.fill_(value)
    engine.trainer.save_checkpoint(folder / "model.ckpt")
    return model.eval(), folder / "model.ckpt"


def _check(result: InspectionResult, place: str) -> None:
    assert result.aligned == ("no" if place == "turned" else "yes")
    assert 0 < result.correlation <= 1
    expected = (-6, 9) if place == "moved" else (0, 0)
    assert (result.shift_x, result.shift_y) == pytest.approx(expected, abs=0.5)
    assert (NOT_REGISTERED in result.text()) == (place == "turned")
    assert InspectionResult.of(result.plain()) == result


def test_a_moved_part_is_inspected_as_one_in_its_place(trained: tuple[Distillation, Path], images: Tensor) -> None:
    network, prepared = trained[0].model, trained[0].pre_processor(images)
    with torch.inference_mode():
        usual, moved, turned = network(prepared).pred_score.flatten().tolist()
        alignment, network.alignment = network.alignment, None
        unaligned = network(prepared).pred_score.flatten().tolist()
        network.alignment = alignment
    assert moved - usual < 0.5 * (unaligned[1] - usual)
    # As the file has it.
    assert turned == pytest.approx(unaligned[2], abs=1e-6)


def test_checkpoint_keeps_the_alignment(trained: tuple[Distillation, Path], images: Tensor) -> None:
    model, checkpoint = trained
    content = torch.load(checkpoint, weights_only=False)
    assert Provenance.of(content).arguments["align"] == "translation"
    for again in (
        FusedReverseDistillation.load_from_checkpoint(checkpoint),
        FusedReverseDistillation.load_from_checkpoint(checkpoint, align="none"),
    ):
        assert again.model.align == "translation"
        with torch.inference_mode():
            for ours, theirs in zip(model(images), again.eval()(images), strict=True):
                assert torch.equal(ours, theirs)


def test_another_checkpoint_does_not_fit(tmp_path: Path, data: Folder) -> None:
    engine = cpu_engine(tmp_path, max_steps=1, logger=False, devices=1)
    plain = ReverseDistillation(**SMALL, visualizer=False, report=False)
    engine.fit(plain, datamodule=data)
    engine.trainer.save_checkpoint(tmp_path / "plain.ckpt")
    with pytest.raises(ValueError, match="align 'none' in the checkpoint, 'translation' in the model"):
        ReverseDistillation.load_from_checkpoint(tmp_path / "plain.ckpt", align="translation")
    assert not [name for name in plain.state_dict() if "alignment" in name]


# OpenVINO's goes through ONNX.
@pytest.mark.parametrize("kind", ["ckpt", "torch", "onnx", pytest.param("openvino", marks=pytest.mark.slow)])
def test_exports_agree_with_the_engine(
    trained: tuple[Distillation, Path], images: Tensor, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, checkpoint = trained
    monkeypatch.setenv("TRUST_REMOTE_CODE", "1")
    path = checkpoint if kind == "ckpt" else getattr(model, f"to_{kind}")(export_root=tmp_path)
    inspector = Inspector(Path(path))
    with torch.inference_mode():
        expected = model(images)
    for index, place in enumerate(PLACES):
        result = inspector.predict((images[index].permute(1, 2, 0) * 255).round().byte().numpy())
        assert result.score == pytest.approx(expected.pred_score[index].item(), abs=1e-4)
        np.testing.assert_allclose(result.picture.anomaly_map, expected.anomaly_map[index, 0], rtol=0, atol=1e-4)
        _check(result, place)


@pytest.mark.slow
def test_int8_registers_as_float32(
    trained: tuple[Distillation, Path], data: Folder, images: Tensor, tmp_path: Path
) -> None:
    model, _ = trained
    path = model.to_openvino(tmp_path, compression_type=CompressionType.INT8_PTQ, datamodule=data)
    inspector = Inspector(Path(path))
    for image, place in zip(images, PLACES, strict=True):
        _check(inspector.predict((image.permute(1, 2, 0) * 255).round().byte().numpy()), place)


@pytest.mark.parametrize("tile_size", [None, 32])
def test_region_and_tiles_follow_the_part(tile_size: int | None, images: Tensor) -> None:
    region = {"width": SIDE, "height": SIDE, "polygons": [[[0, 0], [SIDE, 0], [SIDE, 80], [0, 80]]]}
    torch.manual_seed(0)
    model = ReverseDistillation(**SMALL, align="translation", roi=region, tile_size=tile_size).eval()
    alignment = model.model.alignment
    assert alignment.fit(alignment.reduce(model.pre_processor(_good(12)))).all()
    moved = images[1:2]
    others = moved.clone()
    # The part is 9 pixels lower, and the region with it.
    others[..., 94:, :] = others[..., 94:, :] * 0.9
    with torch.inference_mode():
        first, second = model(moved), model(others)
    assert first.registration[0, 0] == second.registration[0, 0] == 1
    lowest = first.anomaly_map < first.anomaly_map.amin() + 1e-4
    # Of 64 rows and columns; the interpolation mixes two.
    assert lowest[..., 46:, :].all()
    # The part is 3 columns to the left, and 4 times as many beside those that came in do not count.
    assert not lowest[..., 7:42, 14:-5].any()
    assert first.pred_score.item() == pytest.approx(second.pred_score.item(), abs=0.02)


def test_images_of_unknown_size_are_refused() -> None:
    with pytest.raises(ValueError, match="align 'translation' needs images of a known size"):
        ReverseDistillation("resnet18", pre_trained=False, pre_processor=False, align="translation")
    with pytest.raises(ValueError, match="align must be 'none' or 'translation', got 'rigid'"):
        ReverseDistillation("resnet18", pre_trained=False, align="rigid")
