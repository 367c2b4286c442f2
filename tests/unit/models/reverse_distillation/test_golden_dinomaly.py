# SPDX-License-Identifier: Apache-2.0
"""The numbers of the Dinomaly authors' own program, from the same weights and images."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from anomalib.models.image.dinomaly.components import StableAdamW
from torch import Tensor, nn

from rd_plugin import ReverseDistillation
from rd_plugin.components import cosine_deviation
from rd_plugin.components.fixed_size_map import shrinking_matrix
from rd_plugin.convert.dinomaly import dinov2_names, program_positions, student_name
from rd_plugin.models.distillation.schedule import warm_cosine
from rd_plugin.models.reverse_distillation.hard_mining import gradient_factors

from ....golden import fill

CASE = "dinomaly_vits"
GROUPS = (0, 1)
# The step at which a share of the positions is held back.
STEPS = {"p00": 0, "p45": 500, "p90": 1000}


@pytest.fixture(scope="module")
def method(golden: Path) -> ReverseDistillation:
    shapes = json.loads((golden / f"{CASE}.json").read_text())
    tensors = {name: torch.from_numpy(fill.quiet(name, tuple(shape))) for name, shape in shapes.items()}
    parts = {
        part: {name.removeprefix(f"{part}."): tensor for name, tensor in tensors.items() if name.startswith(part)}
        for part in ("encoder", "bottleneck", "decoder")
    }
    method = ReverseDistillation(
        "vit_small_patch14_reg4_dinov2", pre_trained=False, image_size=(112, 112), dropout=0.0, visualizer=False
    )
    net = method.model.teacher.net
    encoder = dinov2_names(parts["encoder"], (8, 8), class_position=False)
    net.load_state_dict({name: encoder[name] for name in net.state_dict()})
    for part, module in (("bottleneck", method.model.bottleneck), ("decoder", method.model.student)):
        module.load_state_dict({student_name(f"{part}.{name}"): tensor for name, tensor in parts[part].items()})
    return method


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.from_numpy(np.float32(10) * fill.image("input.29", (2, 3, 112, 112)))


def norm(module: nn.Module) -> Tensor:
    # In double precision: a sum of millions of squares is 0.2 % off in single.
    return torch.cat([parameter.grad.flatten().double() for parameter in module.parameters()]).norm().float()


@torch.no_grad()
def test_tokens_of_all_blocks(method: ReverseDistillation, images: Tensor, agree: Callable) -> None:
    network = method.model
    seen: dict[str, Tensor] = {}
    for prefix, first, blocks in (
        ("teacher_block", 2, network.teacher.net.blocks[2:]),
        ("decoder_block", 0, network.student.blocks),
    ):
        for index, block in enumerate(blocks, first):
            block.register_forward_hook(lambda _, __, out, name=f"{prefix}_{index}": seen.update({name: out}))
    handles = [network.bottleneck.register_forward_hook(lambda _, __, out: seen.update({"bottleneck": out}))]
    network.teacher.net.blocks[0].register_forward_pre_hook(lambda _, args: seen.update({"tokens": args[0]}))
    network.bottleneck.fc1.register_forward_pre_hook(lambda _, args: seen.update({"fused": args[0]}))
    network.distill(images)
    handles[0].remove()
    for name, tokens in seen.items():
        agree(f"{name}_every_8th_channel", tokens[..., ::8])
    assert len(seen) == 8 + 8 + 3


@torch.no_grad()
def test_groups_and_their_losses(method: ReverseDistillation, images: Tensor, agree: Callable) -> None:
    teacher, student = method.model.distill(images)
    losses = method.loss.scales(teacher, student)
    for group in GROUPS:
        agree(f"teacher_group_{group}_every_4th_channel", teacher[group][:, ::4])
        agree(f"student_group_{group}_every_4th_channel", student[group][:, ::4])
        agree(f"point_distance_{group}", cosine_deviation(teacher[group], student[group]))
        agree(f"loss_of_group_{group}", 2 * losses[group])


@pytest.mark.parametrize("step", STEPS)
def test_gradient_of_a_step_with_mining(
    method: ReverseDistillation, images: Tensor, agree: Callable, golden: Path, step: str
) -> None:
    network = method.model
    network.zero_grad()
    teacher, student = network.distill(images)
    reached: dict[int, Tensor] = {}
    loss = method.loss(teacher, student, STEPS[step])
    for group in GROUPS:
        # After the hook of the loss.
        student[group].register_hook(lambda gradient, group=group: reached.update({group: gradient}))
    loss.backward()
    agree(f"loss_{step}", loss)
    for group in GROUPS:
        agree(f"gradient_position_norm_{step}_{group}", reached[group].norm(dim=1))
    agree(f"gradient_norm_{step}.bottleneck", norm(network.bottleneck))
    agree(f"gradient_norm_{step}.decoder", norm(network.student))
    for index, block in enumerate(network.student.blocks):
        agree(f"gradient_norm_{step}.decoder.{index}", norm(block))
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    agree(f"gradient_norm_{step}.total_before_clipping_to_0.1", nn.utils.clip_grad_norm_(trained, 0.1))
    # Of each tensor, before clipping.
    each = json.loads((golden / f"{CASE}_gradients.json").read_text())[step]
    factor = min(1.0, 0.1 / float(sum(value**2 for value in each.values()) ** 0.5))
    for name, expected in each.items():
        part = network.bottleneck if name.startswith("bottleneck") else network.student
        ours = part.get_parameter(student_name(name)).grad.norm().item()
        assert ours == pytest.approx(factor * expected, rel=1e-3, abs=1e-7), name


@torch.no_grad()
@pytest.mark.parametrize("step", STEPS)
def test_which_positions_are_held_back(
    method: ReverseDistillation, images: Tensor, expected: dict[str, Tensor], step: str
) -> None:
    for group, (teacher, student) in enumerate(zip(*method.model.distill(images), strict=True)):
        deviations = cosine_deviation(teacher, student)
        kept = gradient_factors(deviations, "share", STEPS[step], 5000) == 1
        assert torch.equal(kept, deviations >= expected[f"threshold_{group}_{step}"] - 1e-6)


def test_dropout_with_given_masks(
    method: ReverseDistillation, images: Tensor, agree: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    places = iter(range(3))

    def drop(tokens: Tensor) -> Tensor:
        kept = torch.from_numpy(fill.wave(f"dropout.{next(places)}", tuple(tokens.shape)) < 0.6)
        return tokens * kept.to(tokens.dtype) / 0.8

    network = method.model
    network.zero_grad()
    monkeypatch.setattr(network.bottleneck, "dropout", nn.Identity())
    monkeypatch.setattr(network.bottleneck.dropout, "forward", drop)
    teacher, student = network.distill(images)
    for group in GROUPS:
        agree(f"student_group_{group}_dropout_every_8th_channel", student[group][:, ::8])
    loss = method.loss(teacher, student, 1000)
    loss.backward()
    agree("loss_dropout_p90", loss)
    agree("gradient_norm_dropout_p90.bottleneck", norm(network.bottleneck))
    agree("gradient_norm_dropout_p90.decoder", norm(network.student))


@torch.no_grad()
def test_map_and_score(method: ReverseDistillation, images: Tensor, agree: Callable) -> None:
    network = method.model.eval()
    deviations = network.deviations(images)
    for group, scale in enumerate(network.anomaly_map_generator.scale_maps(deviations, (112, 112))):
        agree(f"map_of_group_{group}_every_4th_pixel", scale[:, 0, ::4, ::4])
    whole = network.anomaly_map(deviations, (112, 112))
    agree("map_before_resizing_every_2nd_pixel", whole[:, 0, ::2, ::2])
    sharp = torch.from_numpy(shrinking_matrix(112, 256, 0.0))
    agree("map_256_every_4th_pixel", (sharp @ whole[:, 0] @ sharp.mT)[:, ::4, ::4])
    blurred = network.fixed_size_map(whole)[:, 0]
    agree("map_256_blurred_every_4th_pixel", blurred[:, ::4, ::4])
    agree("map_256_blurred_border_rows_0_1_2", blurred[:, :3])
    predictions = network(images)
    agree("score_top_1_percent", predictions.pred_score)
    agree("score_max", blurred.amax((1, 2)))
    assert predictions.anomaly_map.shape == (2, 1, 112, 112)


def test_optimizer_and_learning_rate(method: ReverseDistillation, agree: Callable, expected: dict[str, Tensor]) -> None:
    parameter = nn.Parameter(torch.from_numpy(fill.wave("adamw.start", (4, 5)).astype(np.float32)))
    path = [parameter.detach().clone()]
    ours = method.configure_optimizers()["optimizer"]
    optimizer = StableAdamW([parameter], **{**ours.defaults, "lr": 2e-3})
    for step, size in enumerate(expected["stable_adamw_gradient_sizes"].tolist()):
        wave = torch.from_numpy(fill.wave(f"adamw.gradient.{step}", (4, 5)).astype(np.float32))
        parameter.grad = size * wave
        optimizer.step()
        path.append(parameter.detach().clone())
    agree("stable_adamw_path", torch.stack(path))
    rates = [2e-3 * warm_cosine(step, 10_000) for step in expected["learning_rate_iterations"].tolist()]
    agree("learning_rates", torch.tensor(rates))


@pytest.mark.parametrize("side", [8, 28])
def test_position_table_at_another_size(expected: dict[str, Tensor], agree: Callable, side: int) -> None:
    table = expected["position_source_37x37"].reshape(1, 37 * 37, 4)
    agree(f"position_program_{side}x{side}", program_positions(table, (side, side)))
