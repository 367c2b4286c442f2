# SPDX-License-Identifier: Apache-2.0
"""Adam for weights that are channels-last in memory."""

from typing import Any

import torch
from torch import Tensor, optim

__all__ = ["ChannelsLastAdam"]


class ChannelsLastAdam(optim.Adam):
    """Adam, without a copy of each gradient that is channels-last in memory.

    torch's fused kernel brings each gradient of this layout into another before it reads it, which takes twice as long
    as the update. This class hands the kernel the same memory with the channels last in shape, too, where it reads it
    as it is. The update looks at each number alone, so weights and state are the same, bit for bit.

    Takes the arguments of :class:`torch.optim.Adam`.

    Example:
        >>> weight = torch.nn.Parameter(torch.ones(4, 3, 3, 3).to(memory_format=torch.channels_last))
        >>> optimizer = ChannelsLastAdam([weight], lr=0.1, fused=True)
        >>> weight.square().sum().backward()
        >>> optimizer.step()
        >>> round(weight.mean().item(), 4)
        0.9
    """

    def _init_group(self, group: dict[str, Any], parameters: list[Tensor], *others: list[Tensor]) -> bool:
        # Called by Adam's step, which updates what is in these lists.
        has_complex = super()._init_group(group, parameters, *others)
        channels_last = [_is_channels_last(parameter) for parameter in parameters]
        for tensors in (parameters, *others):
            tensors[:] = [
                # Steps are counted in tensors without a dimension.
                tensor.movedim(1, -1) if last and tensor.dim() else tensor
                # A list that this variant of Adam has no use for is empty.
                for tensor, last in zip(tensors, channels_last, strict=False)
            ]
        return has_complex


def _is_channels_last(tensor: Tensor) -> bool:
    return tensor.dim() == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
