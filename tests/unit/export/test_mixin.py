# SPDX-License-Identifier: Apache-2.0
"""Images that calibrate an export are looked at like those that a model is trained on."""

import shutil
from pathlib import Path

import pytest
from anomalib.deploy import CompressionType
from PIL import Image

from rd_plugin import MVTec, ReverseDistillation
from rd_plugin.export import mixin

SMALL = {"backbone": "test_resnet", "layers": ["layer1"], "pre_trained": False, "visualizer": False}


@pytest.fixture
def data(mvtec_root: Path, tmp_path: Path) -> MVTec:
    """Data with a training image of 16 bits, which anomalib reads as white."""
    shutil.copytree(mvtec_root, tmp_path / "data")
    Image.new("I;16", (96, 96), 30_000).save(tmp_path / "data/tile/train/good/003.png")
    return MVTec(tmp_path / "data", "tile", num_workers=0, val_split_mode="from_test", val_split_ratio=0.5)


INT8 = (CompressionType.INT8_PTQ, CompressionType.INT8_ACQ)


@pytest.mark.parametrize("compression", INT8)
def test_bad_image_stops_the_export_by_name(data: MVTec, tmp_path: Path, compression: CompressionType) -> None:
    with pytest.raises(ValueError, match=r"good/003\.png \| the image has mode I;16"):
        ReverseDistillation(**SMALL).to_openvino(tmp_path / "out", compression_type=compression, datamodule=data)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_bad_image_is_left_out_of_the_calibration(data: MVTec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def quantize(model: object, datamodule: MVTec) -> object:
        datamodule.setup("fit")
        seen.extend(Path(path).name for path in datamodule.train_data.samples["image_path"])
        return model

    monkeypatch.setattr(mixin, "quantize", quantize)
    model = ReverseDistillation(**SMALL, on_bad_data="skip")
    model.to_openvino(tmp_path / "out", compression_type=CompressionType.INT8_PTQ, datamodule=data)
    assert len(seen) == 11
    assert "003.png" not in seen


@pytest.mark.slow
@pytest.mark.parametrize("compression", [None, CompressionType.FP16])
def test_data_that_no_export_uses_are_not_looked_at(
    data: MVTec, tmp_path: Path, compression: CompressionType | None
) -> None:
    model = ReverseDistillation(**SMALL)
    assert model.to_openvino(tmp_path / "out", compression_type=compression, datamodule=data).is_file()
