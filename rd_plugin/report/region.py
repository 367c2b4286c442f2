# SPDX-License-Identifier: Apache-2.0
"""A page to draw a region of interest on an image, as one self-contained HTML file."""

import base64
from pathlib import Path

import cv2
import numpy as np
from anomalib.data.utils import read_image

from rd_plugin.storage import atomic_file, printable

from .template import page_part, page_template, script_hash

__all__ = ["write_region_page"]

# Longer side of the picture on the page, in pixels.
_LONGEST = 1600


def write_region_page(path: str | Path, image: str | Path) -> None:
    """Write the page atomically. It saves polygons as the model's argument ``roi`` takes them.

    Args:
        path: The HTML file; an existing file is replaced.
        image: An image as the model will get it.

    Raises:
        OSError: If the image cannot be read, or the page not be written.
    """
    pixels = np.asarray(read_image(image))
    height, width = pixels.shape[:2]
    shrinkage = min(1.0, _LONGEST / max(height, width))
    shown = cv2.resize(pixels, None, fx=shrinkage, fy=shrinkage, interpolation=cv2.INTER_AREA)
    _, picture = cv2.imencode(".jpg", cv2.cvtColor((255 * shown).round().astype(np.uint8), cv2.COLOR_RGB2BGR))
    script = page_part("region.js")
    page = page_template("region.html.jinja").render(
        name=printable(Path(image).name),
        width=width,
        height=height,
        picture=base64.b64encode(picture.tobytes()).decode(),
        style=page_part("region.css"),
        script=script,
        script_hash=script_hash(script),
    )
    with atomic_file(Path(path)) as partial:
        partial.write_text(page, encoding="utf-8")
