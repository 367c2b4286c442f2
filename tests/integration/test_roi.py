# SPDX-License-Identifier: Apache-2.0
"""The page of ``rd-plugin roi`` in a browser, and exports of a model with a region."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from rd_plugin import FusedReverseDistillation, ReverseDistillation
from rd_plugin.data.region_file import read_region
from rd_plugin.inspection import Inspector
from rd_plugin.report import write_region_page

from ..unit.models.base import with_thresholds
from ..unit.models.fused_reverse_distillation.test_torch_model import fitted
from .conftest import run_openvino


def test_polygons_are_drawn_and_saved(browser: Any, tmp_path: Path) -> None:
    Image.fromarray(np.full((100, 200, 3), 128, np.uint8)).save(tmp_path / "part.png")
    write_region_page(tmp_path / "roi.html", tmp_path / "part.png")
    page, wrong = browser.new_page(), []
    page.on("console", lambda message: wrong.append(message.text))
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("request", lambda request: wrong.append(request.url) if request.url.startswith("http") else None)
    page.goto((tmp_path / "roi.html").as_uri())
    assert page.locator("#save").is_disabled()
    box = page.locator("#drawing").bounding_box()
    scale = min(box["width"] / 200, box["height"] / 100)
    left, top = (box["width"] - 200 * scale) / 2, (box["height"] - 100 * scale) / 2

    def click(x: float, y: float) -> None:
        page.locator("#drawing").click(position={"x": left + x * scale, "y": top + y * scale})

    for corner in ((20, 10), (180, 10), (180, 90), (5, 5)):
        click(*corner)
    page.keyboard.press("Backspace")
    click(20, 90)
    page.keyboard.press("Enter")
    for corner in ((50, 30), (150, 30), (150, 60)):
        click(*corner)
    assert page.locator("#state").inner_text() == "1 polygon, 3 corners of the next"
    with page.expect_download() as download:
        page.locator("#save").click()
    assert download.value.suggested_filename == "roi.json"
    download.value.save_as(tmp_path / "roi.json")
    saved = json.loads((tmp_path / "roi.json").read_text())
    assert (saved["width"], saved["height"]) == (200, 100)
    expected = [[[20, 10], [180, 10], [180, 90], [20, 90]], [[50, 30], [150, 30], [150, 60]]]
    for polygon, corners in zip(saved["polygons"], expected, strict=True):
        np.testing.assert_allclose(polygon, corners, atol=1)
    assert read_region(tmp_path / "roi.json").mask((100, 200)).mean() == pytest.approx((12800 - 1500) / 20000, abs=0.02)
    assert not wrong


# The fused model's export, which holds these networks, is among the quick tests.
@pytest.mark.slow
@torch.no_grad()
@pytest.mark.parametrize("tile_size", [None, 32])
def test_export_looks_at_the_same_region(tmp_path: Path, tile_size: int | None) -> None:
    torch.manual_seed(0)
    region = {"width": 80, "height": 64, "polygons": [[[0, 0], [80, 0], [50, 40], [0, 40]]]}
    model = ReverseDistillation(
        "resnet18", pre_trained=False, image_size=(64, 64), roi=region, score=0.01, tile_size=tile_size
    ).eval()
    path = model.to_openvino(export_root=tmp_path)
    images = torch.rand(2, 3, 128, 160)
    others = images.clone()
    # Between inside and outside there are pixels that a resize brings in.
    others[..., 90:, :] = 0
    expected = model(images)
    for each in (images, others):
        actual = run_openvino(Path(path), each.numpy())
        np.testing.assert_allclose(actual["pred_score"], expected.pred_score, rtol=0, atol=1e-4)
        np.testing.assert_allclose(actual["anomaly_map"], expected.anomaly_map, rtol=0, atol=1e-4)


@torch.no_grad()
@pytest.mark.parametrize("kind", ["openvino", pytest.param("onnx", marks=pytest.mark.slow), "torch"])
@pytest.mark.parametrize("tile_size", [None, pytest.param(32, marks=pytest.mark.slow)])
def test_exports_of_a_fused_model_see_nothing_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tile_size: int | None, kind: str
) -> None:
    monkeypatch.setenv("TRUST_REMOTE_CODE", "1")
    torch.manual_seed(0)
    # With tiles the lower ones hold nothing of it.
    region = {"width": 64, "height": 64, "polygons": [[[0, 0], [64, 0], [64, 32], [0, 32]]]}
    network = {
        "backbone": "test_resnet",
        "layers": ["layer1"],
        "roi": region,
        "image_size": (64, 64),
        "tile_size": tile_size,
    }
    module = with_thresholds(FusedReverseDistillation(**network, pre_trained=False)).eval()
    module.model = fitted(torch.randn(8, 3, 64, 64), **network)
    path = Path(getattr(module, f"to_{kind}")(export_root=tmp_path))
    # It was fitted without a trainer, which counts steps.
    record = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps({**record, "steps": 1}))
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    images[1, :32] = images[0, :32]
    expected = module(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)
    assert expected.pred_score[0] == expected.pred_score[1]
    inspector = Inspector(path, threads=1)
    for image in images:
        found = inspector.predict(image)
        assert found.score == pytest.approx(float(expected.pred_score[0]), abs=1e-4)
        np.testing.assert_allclose(found.picture.anomaly_map, expected.anomaly_map[0, 0], atol=1e-4)
        assert found.picture.outlines
