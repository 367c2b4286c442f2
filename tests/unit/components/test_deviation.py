# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from rd_plugin.components import CosineDeviation, MahalanobisDeviation, build_deviation, cosine_deviation
from rd_plugin.components.deviation import ResidualStatistics

IMAGES, CHANNELS, HEIGHT, WIDTH = 40, 6, 3, 4


def features() -> tuple[Tensor, Tensor]:
    """A teacher's features and a student's, which misses some directions more than others."""
    teacher = torch.randn(IMAGES, CHANNELS, HEIGHT, WIDTH)
    return teacher, teacher + torch.randn_like(teacher) * torch.linspace(0.05, 0.5, CHANNELS)[:, None, None]


def learned(teacher: Tensor, student: Tensor, **arguments: int) -> ResidualStatistics:
    statistics = ResidualStatistics(teacher.shape[1], **arguments)
    statistics.update(teacher, student)
    statistics.compute(lambda tensor: tensor)
    return statistics


def test_cosine_compares_each_scale() -> None:
    teacher, student = features()
    (first, second) = CosineDeviation()([teacher, teacher[:, :2]], [student, student[:, :2]])
    assert torch.equal(first, cosine_deviation(teacher, student))
    assert torch.equal(second, cosine_deviation(teacher[:, :2], student[:, :2]))


def test_distance_is_mahalanobis_of_the_residual_at_each_position() -> None:
    teacher, student = features()
    distances = learned(teacher, student)(teacher[:5], student[:5])
    residuals = (F.normalize(teacher) - F.normalize(student)).double().numpy()
    for row, column in np.ndindex(HEIGHT, WIDTH):
        here = residuals[:, :, row, column]
        covariance = np.cov(here.T, bias=True)
        covariance += 0.01 * np.trace(covariance) / CHANNELS * np.eye(CHANNELS)
        centred = here[:5] - here.mean(0)
        expected = np.einsum("nc,cd,nd->n", centred, np.linalg.inv(covariance), centred) / CHANNELS
        np.testing.assert_allclose(distances[:, row, column], expected, rtol=1e-3)


def test_one_is_usual() -> None:
    teacher, student = features()
    assert learned(teacher, student)(teacher, student).mean() == pytest.approx(1, abs=0.05)


def test_scales_add_up_by_their_directions() -> None:
    teacher, student = features()
    deviation = MahalanobisDeviation([CHANNELS, 2])
    scales = [teacher, teacher[:, :2]], [student, student[:, :2]]
    deviation.update(*scales)
    deviation.compute()
    first, second = deviation(*scales)
    torch.testing.assert_close(first, learned(teacher, student)(teacher, student) * CHANNELS / (CHANNELS + 2))
    assert (first + second).mean() == pytest.approx(1, abs=0.05)


def test_an_unusual_direction_counts_more_than_a_usual_one() -> None:
    teacher, student = features()
    statistics = learned(teacher, student)
    rare, common = teacher.clone(), teacher.clone()
    rare[:, 0] += 1
    common[:, -1] += 1
    assert statistics(teacher, rare).mean() > 2 * statistics(teacher, common).mean()


def test_batches_and_processes_add_up() -> None:
    teacher, student = features()
    halves = []
    for share in (slice(0, 15), slice(15, None)):
        half = ResidualStatistics(CHANNELS)
        for t, s in zip(teacher[share].split(4), student[share].split(4), strict=True):
            half.update(t, s)
        halves.append(half)
    others = iter([torch.tensor(25.0), halves[1]._sum, halves[1]._products])
    halves[0].compute(lambda tensor: tensor + next(others))
    whole = learned(teacher, student)
    torch.testing.assert_close(halves[0].mean, whole.mean)
    torch.testing.assert_close(halves[0].whitening, whole.whitening, rtol=1e-3, atol=1e-3)


def test_many_channels_are_projected_onto_the_same_directions() -> None:
    teacher, student = features()
    first, second = learned(teacher, student, max_channels=4), learned(teacher, student, max_channels=4)
    assert first.whitening.shape == (HEIGHT, WIDTH, 4, 4)
    assert torch.equal(first.projection, second.projection)
    torch.testing.assert_close(first.projection.T @ first.projection, torch.eye(4))
    assert first(teacher, student).shape == (IMAGES, HEIGHT, WIDTH)


@pytest.mark.parametrize("images", [1, 3])
def test_few_images_give_finite_distances(images: int) -> None:
    teacher, student = features()
    statistics = learned(teacher[:images], student[:images])
    assert statistics(teacher, student).isfinite().all()


def test_a_state_brings_its_shapes() -> None:
    teacher, student = features()
    known = MahalanobisDeviation([CHANNELS])
    known.update([teacher], [student])
    known.compute()
    loaded = build_deviation("mahalanobis", [CHANNELS])
    loaded.load_state_dict(known.state_dict())
    assert torch.equal(loaded([teacher], [student])[0], known([teacher], [student])[0])


def test_second_fit_replaces_the_first() -> None:
    teacher, student = features()
    deviation = MahalanobisDeviation([CHANNELS])
    for offset in (3.0, 0.0):
        deviation.update([teacher + offset], [student])
        deviation.reset()
        deviation.update([teacher + offset], [student])
        deviation.compute()
    assert torch.equal(deviation([teacher], [student])[0], learned(teacher, student)(teacher, student))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_compared_in_single(dtype: torch.dtype) -> None:
    teacher, student = (feature.to(dtype) for feature in features())
    with torch.autocast("cpu", torch.bfloat16):
        distances = learned(teacher, student, max_channels=4)(teacher, student)
    wide = teacher.float(), student.float()
    torch.testing.assert_close(distances, learned(*wide, max_channels=4)(*wide))


def test_no_statistics_are_named() -> None:
    teacher, student = features()
    with pytest.raises(ValueError, match=r"deviation 'mahalanobis' compares with training images.*are not fitted"):
        MahalanobisDeviation([CHANNELS])([teacher], [student])


def test_another_size_is_named() -> None:
    teacher, student = features()
    learning, known = ResidualStatistics(CHANNELS), learned(teacher, student)
    learning.update(teacher, student)
    for use in (learning.update, known):
        with pytest.raises(ValueError, match="features have 2 x 4 positions, its statistics 3 x 4"):
            use(teacher[:, :, :2], student[:, :, :2])


def test_unknown_kind() -> None:
    with pytest.raises(ValueError, match="deviation must be 'cosine' or 'mahalanobis', got 'euclidean'"):
        build_deviation("euclidean", [CHANNELS])


def test_memory_does_not_grow_with_images() -> None:
    statistics = ResidualStatistics(CHANNELS)
    taken = set()
    for _ in range(5):
        statistics.update(*features())
        taken.add(sum(sums.nbytes for sums in (statistics._count, statistics._sum, statistics._products)))
    positions = HEIGHT * WIDTH
    assert taken == {4 * positions * (1 + CHANNELS + CHANNELS**2)}
