# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rd_plugin.models.fused_reverse_distillation.contrast import LocalContrast


def fitted(evidence: Tensor, inside: Tensor | None = None) -> LocalContrast:
    contrast = LocalContrast()
    contrast.update(evidence, inside)
    contrast.compute()
    return contrast


def test_evidence_stays_as_it_is_until_there_is_a_mean() -> None:
    evidence = torch.rand(2, 2, 8, 8)
    contrast = LocalContrast()
    assert torch.equal(contrast(evidence), evidence)
    contrast.compute()
    assert torch.equal(contrast(evidence), evidence)
    contrast.update(evidence)
    contrast.compute()
    assert not torch.equal(contrast(evidence), evidence)
    contrast.reset()
    assert torch.equal(contrast(evidence), evidence)


def test_usual_evidence_is_one_in_any_units() -> None:
    units = torch.tensor([0.01, 50.0]).view(1, 2, 1, 1)
    contrast = fitted(units.expand(3, 2, 8, 12))
    torch.testing.assert_close(contrast.usual, units.flatten())
    torch.testing.assert_close(contrast(units.expand(1, 2, 8, 12)), torch.ones(1, 2, 8, 12))


def test_mean_is_that_of_all_images() -> None:
    images = torch.rand(5, 2, 8, 8)
    parts = LocalContrast()
    for part in images.split(2):
        parts.update(part)
    parts.compute()
    torch.testing.assert_close(parts.usual, fitted(images).usual)


def test_a_defect_among_nothing_outranks_what_is_usual_of_a_dense_layout() -> None:
    # Left, a dense layout whose evidence is high in normal images; right, nothing but a small defect.
    normal = torch.full((1, 1, 32, 32), 0.2)
    normal[..., :16] = 4.0
    contrast = fitted(normal)
    defect = normal.clone()
    defect[..., 16, 26] = 3.5
    assert defect[..., 16:].max() < normal.max()
    found = contrast(defect)
    assert found[..., 16, 26] > contrast(normal).max()


def test_window_is_that_of_the_formula() -> None:
    evidence = torch.rand(1, 1, 32, 32)
    contrast = fitted(torch.ones(1, 1, 32, 32))
    # 15 x 15 positions, fewer at the border.
    around = torch.tensor([evidence[..., 3:18, 9:24].mean(), evidence[..., :8, :8].mean()])
    found = torch.stack([contrast(evidence)[0, 0, 10, 16], contrast(evidence)[0, 0, 0, 0]])
    torch.testing.assert_close(found, 4 * torch.stack([evidence[0, 0, 10, 16], evidence[0, 0, 0, 0]]) / (around + 3))


def test_grid_that_is_too_small_for_a_window_has_no_contrast() -> None:
    small, long = torch.rand(1, 1, 4, 4), torch.rand(1, 1, 4, 16)
    contrast = fitted(torch.ones(1, 1, 4, 4))
    assert torch.equal(contrast(small), small)
    around = long[0, 0, 1, 5:12].mean()
    torch.testing.assert_close(contrast(long)[0, 0, 1, 8], 4 * long[0, 0, 1, 8] / (around + 3))


def test_only_the_region_of_interest_counts() -> None:
    inside = torch.zeros(1, 1, 8, 8, dtype=torch.bool)
    inside[..., :4, :] = True
    evidence = torch.rand(4, 2, 8, 8) * inside
    contrast = fitted(evidence, inside)
    torch.testing.assert_close(contrast.usual, evidence[..., :4, :].mean((0, 2, 3)))
    found = contrast(evidence, inside)
    assert not found[..., 4:, :].any()
    assert found.isfinite().all()
    # Of constant evidence inside, the border of the region does not matter.
    flat = contrast.usual.view(1, 2, 1, 1) * inside
    torch.testing.assert_close(contrast(flat, inside), inside.float().expand(1, 2, 8, 8))


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_evidence_that_is_zero_or_nan_stays_so(value: float) -> None:
    evidence = torch.full((1, 1, 8, 8), value)
    torch.testing.assert_close(fitted(evidence)(evidence), evidence, equal_nan=True)


def test_state_is_restored() -> None:
    contrast, other = fitted(torch.rand(2, 2, 8, 8)), LocalContrast()
    other.load_state_dict(contrast.state_dict())
    evidence = torch.rand(1, 2, 8, 8)
    torch.testing.assert_close(other(evidence), contrast(evidence))


@pytest.mark.parametrize("region", [False, True])
def test_runtime_gives_the_same(region: bool, tmp_path: Path) -> None:
    # Of any number of images, as an export: OpenVINO could not run an earlier formula, and only so.
    openvino = pytest.importorskip("openvino")
    inside = torch.ones(1, 1, 32, 32, dtype=torch.bool).tril() if region else None
    evidence = torch.rand(2, 2, 32, 32) * (1 if inside is None else inside)

    class Contrasted(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.contrast = fitted(torch.rand(3, 2, 32, 32))

        def forward(self, evidence: Tensor) -> Tensor:
            return self.contrast(evidence, inside)

    model, images = Contrasted().eval(), torch.export.Dim("images")
    exported = torch.onnx.export(model, (evidence,), dynamo=True, dynamic_shapes=({0: images},), verbose=False)
    exported.save(tmp_path / "contrast.onnx")
    compiled = openvino.compile_model(tmp_path / "contrast.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    torch.testing.assert_close(torch.from_numpy(compiled(evidence.numpy())[0]), model(evidence), rtol=1e-4, atol=1e-5)
