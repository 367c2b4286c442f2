# SPDX-License-Identifier: Apache-2.0
import pytest
import torch

from rd_plugin.components.tokens import grouped, join_tokens, split_tokens


@pytest.mark.parametrize("prefix", [0, 1, 5])
@pytest.mark.parametrize("sizes", [(4, 4), (3, 2), (1,)])
def test_tokens_of_groups_come_back_as_the_mean_of_all_blocks(prefix: int, sizes: tuple[int, ...]) -> None:
    blocks = [torch.randn(2, prefix + 6, 8) for _ in range(sum(sizes))]
    features = grouped(blocks, sizes, (2, 3))
    assert [feature.shape for feature in features[: len(sizes)]] == [(2, 8, 2, 3)] * len(sizes)
    assert [feature.shape for feature in features[len(sizes) :]] == ([(2, 8, len(sizes), prefix)] if prefix else [])
    torch.testing.assert_close(features[0][:, :, 1, 2], torch.stack(blocks[: sizes[0]]).mean(0)[:, -1])
    torch.testing.assert_close(join_tokens(features, sizes), torch.stack(blocks).mean(0))


def test_patches_are_laid_out_row_by_row() -> None:
    tokens = torch.arange(7.0).reshape(1, 7, 1)
    assert split_tokens(tokens, (2, 3)).tolist() == [[[[1, 2, 3], [4, 5, 6]]]]
