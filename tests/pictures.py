# SPDX-License-Identifier: Apache-2.0
"""Pictures that tests write, each with its folder: of one colour, and of noise."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def draw(path: str | Path, colour: int | tuple[int, int, int], size: tuple[int, int] = (4, 4)) -> None:
    """Write a picture of one colour, or of a level of grey, of a width and a height."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size[::-1], 3), colour, np.uint8)).save(path)


def draw_noise(root: Path, counts: Mapping[str, int], side: int = 32) -> Path:
    """Write so many square pictures into each folder of ``root``, and return it."""
    rng = np.random.default_rng(0)
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True)
        for index in range(count):
            Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8)).save(root / folder / f"{index}.png")
    return root
