# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import Tensor

from rd_plugin.models.reverse_distillation.loss import CosineLoss

KINDS = ("flattened", "per_pixel")


def features() -> list[Tensor]:
    return [torch.randn(3, 4, 8, 6), torch.randn(3, 7, 4, 3)]


def cosine(first: Tensor, second: Tensor) -> Tensor:
    return first @ second / (first.norm() * second.norm())


def plain_flattened(teacher: Tensor, student: Tensor) -> Tensor:
    return torch.stack([1 - cosine(t.flatten(), s.flatten()) for t, s in zip(teacher, student, strict=True)]).mean()


def plain_per_pixel(teacher: Tensor, student: Tensor) -> Tensor:
    vectors = zip(
        teacher.movedim(1, -1).reshape(-1, teacher.shape[1]),
        student.movedim(1, -1).reshape(-1, teacher.shape[1]),
        strict=True,
    )
    return torch.stack([1 - cosine(t, s) for t, s in vectors]).mean()


@pytest.mark.parametrize(("kind", "plain"), [("flattened", plain_flattened), ("per_pixel", plain_per_pixel)])
def test_value_of_each_scale_and_their_sum(kind: str, plain) -> None:
    teacher, student = features(), features()
    expected = [plain(t, s) for t, s in zip(teacher, student, strict=True)]
    loss = CosineLoss(kind)
    torch.testing.assert_close(loss.scales(teacher, student), expected)
    torch.testing.assert_close(loss(teacher, student), sum(expected))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("factor", "expected"), [(3.0, 0.0), (-0.5, 4.0)])
def test_range_and_no_dependence_on_scale(kind: str, factor: float, expected: float) -> None:
    teacher = features()
    loss = CosineLoss(kind)(teacher, [factor * feature for feature in teacher])
    assert loss.item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_gradient_pulls_the_student_towards_the_teacher(kind: str) -> None:
    teacher = features()
    student = [feature.requires_grad_() for feature in features()]
    before = CosineLoss(kind)(teacher, student)
    before.backward()
    stepped = [feature.detach() - 10 * feature.grad for feature in student]
    assert CosineLoss(kind)(teacher, stepped) < before


def test_unequal_numbers_of_scales_are_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        CosineLoss()(features(), features()[:1])


def test_unknown_kind() -> None:
    with pytest.raises(ValueError, match=r"loss must be 'flattened' or 'per_pixel', got 'l2'"):
        CosineLoss("l2")


@pytest.mark.parametrize("kind", ["flattened", "per_pixel"])
def test_positions_outside_the_region_do_not_count(kind: str) -> None:
    teacher, student = torch.randn(2, 3, 8, 4, 4)
    expected = CosineLoss(kind)([teacher[..., :3]], [student[..., :3]])
    teacher[..., 3:] = student[..., 3:] = 0
    torch.testing.assert_close(CosineLoss(kind)([teacher], [student]), expected)
