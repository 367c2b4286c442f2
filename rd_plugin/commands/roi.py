# SPDX-License-Identifier: Apache-2.0
"""``rd-plugin roi``: a page to draw the region of interest on an image."""

import sys
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace

from .suggestions import nearest_file

__all__ = ["add_arguments", "run"]


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments."""
    parser.add_argument("image", metavar="IMAGE", type=Path, help="an image of a good part, as the model will get it")
    parser.add_argument("--output", metavar="FILE", type=Path, default=Path("roi.html"), help="the page")


def run(arguments: Namespace) -> None:
    """Make a page.

    Raises:
        OSError: If the image does not exist or cannot be read, or the page cannot be written.
    """
    # The help does not wait for it.
    from rd_plugin.report import write_region_page

    image: Path = arguments.image
    if not image.is_file():
        msg = f"image {str(image)!r} is not a file.{nearest_file(image)}"
        raise FileNotFoundError(msg)
    write_region_page(arguments.output, image)
    sys.stdout.write(
        f"{arguments.output} written: open it in a browser, draw polygons, save them as roi.json, and train with "
        "--model.roi roi.json.\n"
    )
