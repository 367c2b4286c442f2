# SPDX-License-Identifier: Apache-2.0
"""Weights of a teacher that are read once for several models."""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

__all__ = ["read_once", "weights_kept"]

Weights = dict[str, Tensor]

_kept: ContextVar[dict[Hashable, Weights] | None] = ContextVar("kept_weights", default=None)


@contextmanager
def weights_kept() -> Iterator[None]:
    """Keep a teacher's weights in memory within the block, so that its next model need not read them again."""
    token = _kept.set({})
    try:
        yield
    finally:
        _kept.reset(token)


def read_once(key: Hashable, read: Callable[[], Weights]) -> Weights:
    """Return what ``read`` returns; within :func:`weights_kept`, of the same key without calling it again.

    Args:
        key: What the weights depend on. Only those of the last key are kept.
        read: Reads the weights.

    Returns:
        Weights by name, which must not be changed.

    Example:
        >>> import torch
        >>> with weights_kept():
        ...     first = read_once("a", lambda: {"weight": torch.zeros(1)})
        ...     first is read_once("a", dict)
        True
        >>> read_once("a", dict)
        {}
    """
    known = _kept.get()
    if known is None:
        return read()
    if key not in known:
        known.clear()
        # Some are buffers of the network that they were read for, which a training may change.
        known[key] = {name: tensor.clone() for name, tensor in read().items()}
    return known[key]
