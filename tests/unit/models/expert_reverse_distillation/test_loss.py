# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import Tensor

from rd_plugin.models.expert_reverse_distillation.loss import StudentLoss, TeacherLoss
from rd_plugin.models.reverse_distillation.loss import CosineLoss

X, Y, MINUS_X = (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)


def row(*positions: tuple[float, float]) -> Tensor:
    """Features of one image in one row, from the two channels at each position."""
    return torch.tensor(positions).T.reshape(1, 2, 1, -1)


def mask(*values: float) -> Tensor:
    return torch.tensor(values).float().reshape(1, 1, 1, -1)


# Deviations of the teacher on the image from the expert: 0, 1, so 1/2 in the mean. Deviations of the teacher on the
# twin from the expert on the image: 1, 0. Over the whole map, teacher and expert on the twin have the cosine 0.
@pytest.mark.parametrize(
    ("anomalies", "expected"),
    [
        (mask(1, 0), 0.5 + 0.0 + 1.0),
        (mask(0, 0), 0.5 + 0.5 + 1.0),
        (mask(1, 1), 0.5 + 0.5 + 1.0),
        (mask(0, 1), 0.5 + 1.0 + 1.0),
    ],
)
def test_teacher_loss(anomalies: Tensor, expected: float) -> None:
    teacher = ([row(X, Y)], [row(Y, X)])
    expert = ([row(X, X)], [row(Y, MINUS_X)])
    torch.testing.assert_close(TeacherLoss()(teacher, expert, anomalies), torch.tensor(expected))


def test_teacher_loss_of_agreement() -> None:
    features = [torch.randn(2, 4, 8, 6), torch.randn(2, 7, 4, 3)]
    both = (features, features)
    loss = TeacherLoss()
    assert loss(both, both, torch.zeros(2, 1, 32, 24)).item() == pytest.approx(0, abs=1e-5)
    assert loss(both, both, torch.ones(2, 1, 32, 24)).item() == pytest.approx(2, abs=1e-5)


def test_teacher_loss_is_the_sum_over_scales() -> None:
    teacher, expert = (
        tuple([torch.randn(2, 4, 8, 6), torch.randn(2, 7, 4, 3)] for _ in range(2)) for _ in ("teacher", "expert")
    )
    masks = torch.rand(2, 1, 32, 24).round()
    first, second = TeacherLoss().scales(teacher, expert, masks)
    assert first != second
    torch.testing.assert_close(TeacherLoss()(teacher, expert, masks), first + second)


# With corners aligned, four positions lie at 0, 8/3, 16/3 and 8 of nine, and three of them at 0, 3/2 and 3 of four.
@pytest.mark.parametrize(
    ("anomalies", "expected"),
    [
        # The middle of the nine, which is the middle of the three as well, is lost on the way.
        (mask(0, 0, 0, 0, 1, 0, 0, 0, 0), [0, 0]),
        # Beside it, the middle of the three comes from both middle ones of the four.
        (mask(0, 0, 1, 1, 0, 1, 1, 0, 0), [2 / 4, 1 / 3]),
        # Of one alone it is half, which is no anomaly.
        (mask(0, 0, 1, 1, 0, 0, 0, 0, 0), [1 / 4, 0]),
    ],
)
def test_masks_are_resized_from_scale_to_scale(anomalies: Tensor, expected: list[float]) -> None:
    features = [torch.ones(1, 3, 1, 4), torch.ones(1, 5, 1, 3)]
    losses = TeacherLoss().scales((features, features), (features, features), anomalies)
    torch.testing.assert_close(torch.stack(losses), torch.tensor(expected).float())


def test_teacher_loss_separates_the_twin_on_anomalies_alone() -> None:
    expert = ([torch.randn(1, 8, 4, 4)], [torch.randn(1, 8, 4, 4)])
    twin = expert[0][0].clone().requires_grad_()
    anomalies = torch.zeros(1, 1, 4, 4)
    anomalies[..., :2] = 1
    optimizer = torch.optim.Adam([twin], lr=0.05)
    for _ in range(100):
        optimizer.zero_grad()
        # The twin's agreement with the expert's view of the twin is left out: the mask's part alone.
        TeacherLoss()((expert[0], [twin]), (expert[0], [twin.detach()]), anomalies).backward()
        optimizer.step()
    deviation = 1 - torch.cosine_similarity(twin, expert[0][0])
    assert deviation[..., :2].min() > 0.5
    assert deviation[..., 2:].max() < 0.1


def features() -> list[Tensor]:
    return [torch.randn(3, 4, 8, 6), torch.randn(3, 7, 4, 3)]


@pytest.mark.parametrize("count", [1, 2])
def test_student_loss_has_a_term_for_each_target_and_input(count: int) -> None:
    targets, students = [features() for _ in range(count)], [features(), features()]
    terms = [CosineLoss().scales(target, student) for target in targets for student in students]
    assert len(terms) == 2 * count
    loss = StudentLoss()
    torch.testing.assert_close(loss.scales(targets, students), [sum(scale) for scale in zip(*terms, strict=True)])
    torch.testing.assert_close(loss(targets, students), sum(map(sum, terms)))


def test_student_loss_by_hand() -> None:
    # Cosines over the whole map: 1, 1/2, 1/2 and 0.
    targets, students = [[row(X, Y)], [row(X, X)]], [[row(X, Y)], [row(Y, Y)]]
    torch.testing.assert_close(StudentLoss()(targets, students), torch.tensor(0.0 + 0.5 + 0.5 + 1.0))
    torch.testing.assert_close(StudentLoss()(targets[:1], students), torch.tensor(0.0 + 0.5))


def test_student_loss_range() -> None:
    target = features()
    opposite = [-feature for feature in target]
    assert StudentLoss()([target, target], [target, target]).item() == pytest.approx(0, abs=1e-5)
    assert StudentLoss()([target, target], [opposite, opposite]).item() == pytest.approx(16, abs=1e-5)


def test_unequal_numbers_of_scales_are_refused() -> None:
    both = (features(), features())
    with pytest.raises(ValueError, match="zip"):
        TeacherLoss()(both, (features(), features()[:1]), torch.zeros(3, 1, 8, 6))
    with pytest.raises(ValueError, match="zip"):
        StudentLoss()(both, (features(), features()[:1]))


def test_positions_outside_the_region_do_not_count() -> None:
    features = torch.randn(4, 3, 8, 4, 4)
    masks = torch.zeros(3, 1, 4, 4)
    inside = features[..., :3]
    expected = TeacherLoss()(([inside[0]], [inside[1]]), ([inside[2]], [inside[3]]), masks[..., :3])
    features[..., 3:] = 0
    found = TeacherLoss()(([features[0]], [features[1]]), ([features[2]], [features[3]]), masks)
    torch.testing.assert_close(found, expected)
