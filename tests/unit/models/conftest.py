# SPDX-License-Identifier: Apache-2.0
"""Small noise, and fixtures of the tests against the numbers of the authors' own programs."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ...golden import fill


@pytest.fixture(autouse=True)
def _small_noise(small_noise: None) -> None:
    """Images of these tests are small, too."""


@pytest.fixture(scope="module")
def weights(request: pytest.FixtureRequest, golden: Path) -> dict[str, Tensor]:
    """Weights of the module's ``CASE``, under the names that its ``our_name`` gives them; None for unused ones."""
    shapes = json.loads((golden / f"{request.module.CASE}.json").read_text())
    names = {name: request.module.our_name(name) for name in shapes}
    return {
        ours: torch.from_numpy(np.asarray(fill.tensor(theirs, tuple(shapes[theirs]))))
        for theirs, ours in names.items()
        if ours is not None
    }


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.from_numpy(fill.image("input", (2, 3, 64, 64)))


@pytest.fixture(scope="module")
def expected(request: pytest.FixtureRequest, golden: Path) -> dict[str, Tensor]:
    """Arrays of the module's ``CASE``."""
    with np.load(golden / f"{request.module.CASE}.npz") as arrays:
        return {name: torch.from_numpy(np.asarray(arrays[name])) for name in arrays}


@pytest.fixture(scope="module")
def agree(expected: dict[str, Tensor]) -> Callable[[str, Tensor], None]:
    """Compare with one of the module's ``CASE``'s arrays."""

    def check(name: str, actual: Tensor) -> None:
        wanted = expected[name]
        torch.testing.assert_close(actual.reshape(wanted.shape), wanted, rtol=0, atol=1e-4 * float(wanted.abs().max()))

    return check
