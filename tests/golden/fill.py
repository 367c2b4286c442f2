# SPDX-License-Identifier: Apache-2.0
"""Deterministic tensors for the golden cases: every value follows from a tensor's name, shape and position.

The reference outputs beside this file were computed with weights and inputs made by these functions, so a case needs
no checkpoint: only the names and shapes listed in its JSON file.
"""

import hashlib
import math

import numpy as np


def wave(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return a float64 array in [-1, 1] of the given shape, fixed by ``name`` alone."""
    phase = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32
    # In place: there are hundreds of millions of them.
    values = np.arange(math.prod(shape), dtype=np.float64)
    values *= 0.6180339887498949
    values += phase
    values -= np.floor(values)
    values *= 2.0
    values -= 1.0
    return values.reshape(shape)


def tensor(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the float32 value of the parameter or buffer called ``name``.

    Convolution weights are scaled by sqrt(3 / fan_in); normalisation weights lie in [0.75, 1.25], their biases and
    running means in [-0.25, 0.25], running variances in [0.75, 1.25]; ``num_batches_tracked`` is 0 (int64).
    """
    if name.endswith("num_batches_tracked"):
        return np.zeros(shape, dtype=np.int64)
    values = wave(name, shape)
    if len(shape) >= 2:
        values *= math.sqrt(3.0 / math.prod(shape[1:]))
    elif name.endswith(("running_var", "weight")):
        values = 1.0 + 0.25 * values
    else:
        values = 0.25 * values
    return values.astype(np.float32)


def image(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return a float32 input of shape ``(N, 3, H, W)``, already normalised, smooth in space plus a little texture."""
    count, channels, height, width = shape
    rows = np.linspace(0, 3 * np.pi, height)[:, None]
    columns = np.linspace(0, 2 * np.pi, width)[None, :]
    base = np.stack(
        [
            np.stack([np.sin(rows * (1 + c) + n) * np.cos(columns * (1 + n) - c) for c in range(channels)])
            for n in range(count)
        ],
    )
    return (base + 0.3 * wave(name, shape)).astype(np.float32)


def quiet(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Return the float32 value of a tensor in the Dinomaly case: that of ``tensor``, or for biases a tenth of it."""
    value = tensor(name, shape)
    return (np.float32(0.1) * value).astype(np.float32) if name.endswith("bias") else value
