# SPDX-License-Identifier: Apache-2.0
"""Files that hold a region of interest: a mask, or polygons."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import yaml

from rd_plugin.components import Region

__all__ = ["read_region"]

_HALF = 127
_POLYGONS = {".yaml", ".yml", ".json"}


def read_region(source: str | Path | Mapping[str, Any]) -> Region:
    """Return the region of interest that a file holds.

    Args:
        source: A mask, an image file in which what is brighter than half is looked at; or polygons, a YAML or JSON file
            with ``width`` and ``height`` of the image that they were drawn on and ``polygons``, each a list of corners
            ``[x, y]``; or the content of such a file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it holds no region, or the region is empty; the message names the file.
    """
    if isinstance(source, Mapping):
        return Region.of(source)
    path = Path(source)
    if not path.is_file():
        msg = f"roi {str(path)!r} is not a file; expected a mask, such as mask.png, or polygons in YAML or JSON."
        raise FileNotFoundError(msg)
    try:
        if path.suffix.lower() in _POLYGONS:
            return Region.of(yaml.safe_load(path.read_text(encoding="utf-8")))
        mask = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if mask is not None:
            return Region.of_mask(mask > _HALF)
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as error:
        msg = f"roi file {str(path)!r}: {str(error).removeprefix('roi: ')}"
        raise ValueError(msg) from error
    msg = f"roi file {str(path)!r} is neither an image nor a YAML or JSON file with polygons."
    raise ValueError(msg)
