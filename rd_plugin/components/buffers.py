# SPDX-License-Identifier: Apache-2.0
"""Buffers whose shapes are known only when statistics are computed or loaded."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

__all__ = ["DynamicBuffers"]


class DynamicBuffers(nn.Module):
    """Module whose buffers take the shapes of the state that is loaded.

    Like anomalib's ``DynamicBufferMixin``, which cannot be imported without Lightning and all of anomalib's models.

    Example:
        >>> import torch
        >>> module = DynamicBuffers()
        >>> module.register_buffer("mean", torch.empty(0))
        >>> module.load_state_dict({"mean": torch.zeros(3)})
        <All keys matched successfully>
    """

    def __init__(self) -> None:
        super().__init__()
        self.register_load_state_dict_pre_hook(_resize)


def _resize(module: nn.Module, state: Mapping[str, Tensor], prefix: str, *_: Any) -> None:
    for name, buffer in module.named_buffers(recurse=False):
        loaded = state.get(f"{prefix}{name}")
        if loaded is not None and loaded.shape != buffer.shape:
            setattr(module, name, buffer.new_empty(loaded.shape))
