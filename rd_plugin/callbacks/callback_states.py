# SPDX-License-Identifier: Apache-2.0
"""States of users' callbacks in a checkpoint, which inspection and tests do not need.

A checkpoint is read without running code from it. A state that holds more than plain data, such as a path, would make
the whole file unreadable, so it is kept as bytes.
"""

import io
import logging
from typing import Any

import torch

__all__ = ["pack_states", "unpack_states"]

logger = logging.getLogger(__name__)

_PACKED = "rd_plugin_packed"


def pack_states(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint in which states of callbacks that are not plain data are bytes."""
    states = {name: _packed(state) for name, state in checkpoint.get("callbacks", {}).items()}
    return {**checkpoint, "callbacks": states} if states else checkpoint


def unpack_states(checkpoint: dict[str, Any], trusted: bool) -> None:
    """Restore the states that are bytes, or leave them out and say so."""
    states = checkpoint.get("callbacks", {})
    for name, state in list(states.items()):
        if not isinstance(state, dict) or _PACKED not in state:
            continue
        if trusted:
            states[name] = torch.load(io.BytesIO(state[_PACKED]), weights_only=False)
        else:
            logger.info(
                "The state of the callback %s is left out: it holds more than plain data, which weights_only=False "
                "restores.",
                name,
            )
            del states[name]


def _packed(state: Any) -> Any:
    """A state as it is if it is plain data, otherwise its bytes."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    try:
        torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
    except Exception:  # the unpickler raises errors of several types
        return {_PACKED: buffer.getvalue()}
    return state
