# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import torch

from rd_plugin import FusedReverseDistillation
from rd_plugin.feedback.statistics import add_images, features_of
from rd_plugin.provenance import read_sums

from .conftest import other


def _images(count: int) -> list[torch.Tensor]:
    return list(torch.from_numpy(other(count, seed=3)).permute(0, 3, 1, 2) / 255)


def test_all_at_once_equals_one_after_the_other(model: Path) -> None:
    sums = read_sums(model, torch.load(model, weights_only=False))
    whole, parts = (FusedReverseDistillation.load_from_checkpoint(model) for _ in range(2))
    images = _images(12)
    features = [features_of(whole, image) for image in images]
    kept = add_images(whole, sums, images, features)
    first = add_images(parts, sums, images[:8], features[:8])
    later = add_images(parts, first, images[8:], features[8:])
    number = sums["evidence"]["teacher"]["number"]
    for learned in (kept, later):
        assert torch.equal(learned["evidence"]["teacher"]["number"], number + 12)
    for name, gaussians in whole.model.evidence.gaussians.items():
        torch.testing.assert_close(parts.model.evidence.gaussians[name].mean, gaussians.mean, rtol=1e-4, atol=1e-4)
    assert len(kept["normal"]) == len(sums["normal"]) + 3
    torch.testing.assert_close(whole.model.fusion.weights.sum(), torch.tensor(1.0))
    weights = whole.model.fusion.weights
    add_images(whole, sums, images, features, weigh=False)
    assert whole.model.fusion.weights is weights
    torch.testing.assert_close(
        whole.model.evidence.teacher.mean, parts.model.evidence.teacher.mean, rtol=1e-4, atol=1e-4
    )


def test_networks_stay_and_what_was_learned_is_normal(model: Path) -> None:
    sums = read_sums(model, torch.load(model, weights_only=False))
    module = FusedReverseDistillation.load_from_checkpoint(model).eval()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    new = torch.stack(_images(24))
    with torch.no_grad():
        scores = module(new).pred_score.mean()
        add_images(module, sums, list(new), [features_of(module, image) for image in new])
        assert module(new).pred_score.mean() < scores
    changed = {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}
    assert all(name.startswith(("model.evidence.", "model.fusion.")) for name in changed)
    assert "model.evidence.teacher.mean" in changed
    assert not any("context." in name or "shrinkage" in name for name in changed)
