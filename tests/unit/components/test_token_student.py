# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from rd_plugin.components import LinearAttention, TokenStudent


def test_attention_is_a_mean_of_values_with_positive_weights() -> None:
    attention = LinearAttention(8, 2)
    tokens = torch.randn(2, 5, 8)
    query, key, value = attention.qkv(tokens).reshape(2, 5, 3, 2, 4).permute(2, 0, 3, 1, 4)
    weights = torch.nn.functional.elu(query).add(1) @ torch.nn.functional.elu(key).add(1).mT
    expected = (weights / weights.sum(-1, keepdim=True)) @ value
    torch.testing.assert_close(attention(tokens), attention.proj(expected.transpose(1, 2).reshape(2, 5, 8)))


@pytest.mark.parametrize("depth", [2, 5, 8])
def test_last_blocks_are_the_first_group(depth: int) -> None:
    student = TokenStudent(8, 2, depth, groups=2)
    seen = []
    for block in student.blocks:
        block.register_forward_hook(lambda _, __, output: seen.append(output))
    first, second = student(torch.randn(2, 1 + 6, 8), [torch.empty(2, 8, 2, 3)] * 2)
    count = (depth + 1) // 2
    for group, blocks in ((first, seen[-count:]), (second, seen[:-count])):
        torch.testing.assert_close(group.flatten(2).mT, torch.stack(blocks).mean(0)[:, 1:])


def test_too_few_blocks() -> None:
    with pytest.raises(ValueError, match=r"student_depth must be at least 2, .* got 1"):
        TokenStudent(8, 2, 1, groups=2)
