# SPDX-License-Identifier: Apache-2.0
import torch
from torch import Tensor

from rd_plugin.components import held_out, perturbed_places
from rd_plugin.models.fused_reverse_distillation.evidence import EVIDENCE, Evidence
from rd_plugin.models.fused_reverse_distillation.statistics import kept_places


def kind(evidence: Tensor, name: str) -> Tensor:
    return evidence[:, list(EVIDENCE).index(name)]


def update(evidence: Evidence, teacher: list[Tensor], student: list[Tensor]) -> None:
    count = len(teacher[0])
    evidence.update(teacher, student, held_out(range(count)), torch.arange(count), count)
    evidence.fit_context(held_out(range(count)))


def fitted(teacher: list[Tensor], student: list[Tensor] | None = None) -> Evidence:
    evidence = Evidence([scale.shape[1] for scale in teacher])
    update(evidence, teacher, teacher if student is None else student)
    evidence.compute()
    evidence.include_held_out()
    return evidence


@torch.no_grad()
def test_faint_defects_larger_than_a_position_stand_out_in_their_region() -> None:
    torch.manual_seed(0)
    evidence = fitted([torch.randn(200, 8, 8, 8)])
    faint = [torch.randn(100, 8, 8, 8)]
    faint[0][:, :, 4:, 4:] += 1
    found = evidence(faint, faint)
    teacher, region = (kind(found, name).mean(0) for name in ("teacher", "region"))
    inside, outside = (slice(6, None), slice(6, None)), (slice(2), slice(2))
    assert region[inside].mean() / region[outside].mean() > 1.5 * teacher[inside].mean() / teacher[outside].mean()
    # Between the centres of regions it falls off.
    assert region[7, 5] > region[7, 4] > region[7, 3] > region[7, 2]


@torch.no_grad()
def test_what_the_whole_picture_shows_is_no_evidence_of_context() -> None:
    torch.manual_seed(0)
    pattern = torch.randn(1, 8, 8, 8)

    def images(count: int) -> Tensor:
        return 3 * torch.randn(count, 1, 1, 1) * pattern + 0.3 * torch.randn(count, 8, 8, 8)

    evidence = fitted([images(200)])
    usual, odd = images(50), images(50)
    # One region shows the pattern as in another image.
    odd[:, :, :2, :2] = images(50)[:, :, :2, :2]
    before, after = (evidence([part], [part]).mean(0)[:, 0, 0] for part in (usual, odd))
    rise = dict(zip(EVIDENCE, (after / before).tolist(), strict=True))
    assert rise["context"] > 3 * rise["region"]


@torch.no_grad()
def test_grids_of_an_odd_number_of_positions_have_regions_too() -> None:
    features = [torch.randn(8, 8, 7, 1)]
    evidence = fitted(features)
    assert evidence.region.mean.shape == (4, 1, 8)
    assert evidence(features, features).shape == (8, 6, 7, 1)


@torch.no_grad()
def test_perturbations_that_were_seen_are_usual() -> None:
    torch.manual_seed(0)
    normal = [torch.randn(40, channels, side, side) for channels, side in ((8, 8), (16, 4))]
    there = [torch.randn(1, channels, 1, 1) for channels in (8, 16)]
    moved = [scale + 3 * torch.randn(40, 1, 1, 1) * way for scale, way in zip(normal, there, strict=True)]
    student = [torch.randn_like(scale) for scale in normal]
    perturbed = Evidence([8, 16])
    update(perturbed, normal, student)
    perturbed.update_perturbations(
        [torch.cat(pair) for pair in zip(normal, moved, strict=True)], [torch.cat([s, s]) for s in student], 40
    )
    perturbed.compute()
    perturbed.include_held_out()
    before, after = fitted(normal, student)(moved, student), perturbed(moved, student)
    for name in ("teacher", "region", "context", "image"):
        assert kind(after, name).mean() < kind(before, name).mean() / 2


def _taken(evidence: Evidence) -> int:
    """Bytes of all tensors that are kept."""
    sums = [tensor for part in evidence.gaussians.values() for moments in part._seen for tensor in moments]
    return sum(tensor.nbytes for tensor in (evidence._kept, *sums, *evidence.buffers()))


@torch.no_grad()
def test_memory_does_not_grow_with_images() -> None:
    torch.manual_seed(0)
    evidence, taken = Evidence([4, 8]), []
    for batch in range(30):
        scales = [torch.randn(8, 4, 8, 8), torch.randn(8, 8, 4, 4)]
        places = range(8 * batch, 8 * batch + 8)
        slots = torch.tensor([place if place < 16 else -1 for place in places])
        evidence.update(scales, scales, held_out(places), slots, 16)
        taken.append(_taken(evidence))
    assert set(taken) == {taken[0]}
    # What is kept of single images, perturbed and weighted, has a number of its own.
    assert len(kept_places(10**6)) == 512
    assert len(perturbed_places(10**6)) == 32
