# SPDX-License-Identifier: Apache-2.0
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from rd_plugin.models.expert_reverse_distillation.injection import InformationInjection, injection_builder

CHANNELS, FINER = 6, 4


def build(guided: bool) -> InformationInjection:
    """An injection whose batch norms do something in evaluation mode."""
    injection = InformationInjection(CHANNELS, FINER, guided)
    for name, tensor in injection.state_dict().items():
        if tensor.ndim == 1:
            nn.init.uniform_(tensor, *((0.5, 1.5) if name.endswith(("weight", "var")) else (-0.5, 0.5)))
    return injection.eval()


def inputs(size: tuple[int, int] = (3, 5)) -> tuple[Tensor, Tensor, Tensor]:
    """Features of the student, of the teacher, and of the teacher at a scale twice as fine."""
    height, width = size
    sizes = [(CHANNELS, height, width), (CHANNELS, height, width), (FINER, 2 * height, 2 * width)]
    student, teacher, finer = (torch.randn(2, *shape) for shape in sizes)
    return student, teacher, finer


def conv(layers: nn.Sequential, features: Tensor) -> Tensor:
    """Convolution without bias that keeps the grid, batch norm and ReLU."""
    weight, norm = layers[0].weight, layers[1]
    features = F.conv2d(features, weight, padding=weight.shape[-1] // 2)
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    shift = norm.bias - norm.running_mean * scale
    return (features * scale[:, None, None] + shift[:, None, None]).clamp_min(0)


def by_hand(
    injection: InformationInjection, student: Tensor, teacher: Tensor, finer: Tensor, with_gradient: bool = False
) -> Tensor:
    injected = conv(injection.fusion, teacher + conv(injection.lateral, F.avg_pool2d(finer, 2)))
    if injection.guidance is not None:
        norms = (student**2).sum(1).sqrt() * (teacher**2).sum(1).sqrt()
        similarity = ((student * teacher).sum(1) / norms).unsqueeze(1)
        similarity = similarity if with_gradient else similarity.detach()
        injected = conv(injection.guidance, injected * similarity + student * (1 - similarity))
    return conv(injection.output, torch.cat([student, injected], dim=1))


@torch.no_grad()
@pytest.mark.parametrize("guided", [True, False])
def test_formula(guided: bool) -> None:
    injection, features = build(guided), inputs()
    assert (injection.guidance is not None) == guided
    torch.testing.assert_close(injection(*features), by_hand(injection, *features))


def test_kernel_sizes() -> None:
    injection = build(guided=True)
    sizes = {name: part[0].kernel_size[0] for name, part in injection.named_children()}
    assert sizes == {"lateral": 1, "fusion": 3, "guidance": 3, "output": 3}


@pytest.mark.parametrize("index", [0, 1])
def test_similarity_gets_no_gradient(index: int) -> None:
    injection = build(guided=True)
    features = [feature.requires_grad_() for feature in inputs()]

    def gradient(output: Tensor) -> Tensor:
        return torch.autograd.grad(output.square().sum(), features[index])[0]

    actual = gradient(injection(*features))
    torch.testing.assert_close(actual, gradient(by_hand(injection, *features)), rtol=1e-4, atol=1e-4)
    assert not torch.allclose(actual, gradient(by_hand(injection, *features, with_gradient=True)), rtol=1e-2, atol=1e-2)


@torch.no_grad()
def test_guidance_keeps_the_teacher_out_where_the_student_is_unlike_it() -> None:
    injection, (student, teacher, finer) = build(guided=True), inputs()
    # Orthogonal everywhere: half the channels are the student's, half the teacher's.
    student[:, ::2], teacher[:, 1::2] = 0, 0
    expected = injection(student, teacher, finer)
    torch.testing.assert_close(injection(student, 3 * teacher, torch.randn_like(finer)), expected)
    plain = build(guided=False)
    assert not torch.allclose(plain(student, 3 * teacher, finer), plain(student, teacher, finer))


# Backbones halve odd grids up or down; with a stage left out the finer grid is four times as fine.
@pytest.mark.parametrize("guided", [True, False])
@pytest.mark.parametrize(
    ("size", "finer"),
    [((4, 5), (7, 9)), ((3, 4), (7, 9)), ((1, 1), (1, 2)), ((1, 2), (3, 4)), ((3, 4), (13, 16))],
)
def test_odd_sizes(size: tuple[int, int], finer: tuple[int, int], guided: bool) -> None:
    student, teacher, _ = inputs(size)
    output = InformationInjection(CHANNELS, FINER, guided)(student, teacher, torch.randn(2, FINER, *finer))
    assert output.shape == student.shape
    assert output.isfinite().all()
    assert output.min() >= 0


@pytest.mark.parametrize("guided", [True, False])
def test_every_parameter_is_trained(guided: bool) -> None:
    injection = InformationInjection(CHANNELS, FINER, guided)
    injection(*inputs()).square().sum().backward()
    assert not [name for name, parameter in injection.named_parameters() if not parameter.grad.abs().sum() > 0]


@torch.no_grad()
def test_bfloat16() -> None:
    injection, features = build(guided=True), inputs()
    expected = injection(*features)
    halves = [feature.bfloat16() for feature in features]
    actual = injection.bfloat16()(*halves)
    assert actual.dtype == torch.bfloat16
    torch.testing.assert_close(actual.float(), expected, rtol=0.1, atol=0.1)


def test_unknown_injection() -> None:
    with pytest.raises(ValueError, match=r"injection must be 'guided', 'unguided' or 'none', got 'both'"):
        injection_builder("both")
