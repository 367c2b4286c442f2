# SPDX-License-Identifier: Apache-2.0
"""Compose pictures of four parts each, of which one may have small defects: does the map show where?

    python -m benchmarks.accuracy.composed PART ROOT

PART is a folder in MVTec AD's layout. Each picture of ROOT/composed has 320 x 320 pixels: four of the part's images,
at 160 x 160. One of a defective picture has defects, each of 10 to 40 pixels; images with others are left out.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

_SIDE = 160
_SMALLEST, _LARGEST = 10, 40


def compose(quarters: Sequence[Image.Image]) -> Image.Image:
    """Return one picture of four images, row by row."""
    small = [np.asarray(quarter.resize((_SIDE, _SIDE), Image.Resampling.BOX)) for quarter in quarters]
    return Image.fromarray(np.vstack([np.hstack(small[:2]), np.hstack(small[2:])]))


def defect_sides(mask: Image.Image) -> list[float]:
    """Return the longer side of each region that a mask marks, in pixels of a quarter."""
    regions, _ = ndimage.label(np.asarray(mask) > 127, np.ones((3, 3)))
    scale = _SIDE / max(mask.size)
    return [scale * max(part.stop - part.start for part in region) for region in ndimage.find_objects(regions)]


def _images(folder: Path) -> list[Path]:
    files = sorted(folder.glob("*.png"))
    if len(files) < 4:
        msg = f"{folder} has {len(files)} PNG files; a picture takes four."
        raise SystemExit(msg)
    return files


def _save(picture: Image.Image, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    picture.save(file)


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", type=Path, help="a folder with train/good, test/ and ground_truth/")
    parser.add_argument("root", type=Path, help="the folder that is given as --root to benchmarks.accuracy")
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    for split in ("train", "test"):
        files = _images(options.part / split / "good")
        for index in range(len(files)):
            chosen = generator.choice(len(files), 4, replace=False)
            picture = compose([Image.open(files[i]).convert("RGB") for i in chosen])
            _save(picture, options.root / "composed" / split / "good" / f"{index:04}.png")
    good = _images(options.part / "test" / "good")
    for file in sorted((options.part / "test").glob("*/*.png")):
        kind = file.parent.name
        if kind == "good":
            continue
        mask = Image.open(options.part / "ground_truth" / kind / f"{file.stem}_mask.png").convert("L")
        if not all(_SMALLEST <= side <= _LARGEST for side in defect_sides(mask)):
            continue
        quarters = [Image.open(good[i]).convert("RGB") for i in generator.choice(len(good), 4, replace=False)]
        masks = [Image.new("L", mask.size)] * 4
        place = int(generator.integers(4))
        quarters[place], masks[place] = Image.open(file).convert("RGB"), mask
        _save(compose(quarters), options.root / "composed" / "test" / kind / f"{file.stem}.png")
        marked = compose(masks).point(lambda value: 255 * (value > 127))
        _save(marked, options.root / "composed" / "ground_truth" / kind / f"{file.stem}_mask.png")


if __name__ == "__main__":
    main()
