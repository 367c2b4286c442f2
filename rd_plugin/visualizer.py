# SPDX-License-Identifier: Apache-2.0
"""Pictures of predictions, with verdict and score, in the image's own shape."""

import math
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import torch
from anomalib.data import ImageBatch, ImageItem, NumpyImageBatch, NumpyImageItem
from anomalib.visualization import ImageVisualizer
from anomalib.visualization.image.item_visualizer import visualize_image_item
from lightning.pytorch import LightningModule, Trainer
from PIL import Image, ImageDraw, ImageFont

from rd_plugin.callbacks.courtesy import spared
from rd_plugin.components import Region
from rd_plugin.data.crop import on_whole_image
from rd_plugin.data.crop_steps import crop_steps
from rd_plugin.data.region_pixels import region_of
from rd_plugin.storage import atomic_file, is_address, local_copy

__all__ = ["PredictionVisualizer"]

_COLOURS = {"normal": (25, 110, 50), "anomalous": (170, 25, 25), "error": (90, 90, 90), "mistake": (170, 85, 0)}
_TEXT_SIZE = 20
_MARGIN = 8
# Minimum longer side of a field, in pixels, for a readable title.
_READABLE = 256


class PredictionVisualizer(ImageVisualizer):
    """anomalib's visualizer with verdict and score above each picture, which keeps an image's shape and subfolders.

    anomalib's own visualizer draws every image as a square without a verdict, and writes ``a/cam1/img.jpg`` and
    ``b/cam1/img.jpg`` to one file. This class writes pictures to the same subfolders as their images. The model's
    region of interest is outlined in blue.

    Args:
        longest_side: Maximum longer side of each field of a picture, in pixels. A smaller image is not enlarged, unless
            it is smaller than 256 pixels.
        **arguments: All other arguments of anomalib's ``ImageVisualizer``, except ``field_size``.

    Raises:
        ValueError: If ``longest_side`` is less than 1.
    """

    def __init__(self, longest_side: int = 384, **arguments: Any) -> None:
        if longest_side < 1:
            msg = f"longest_side must be at least 1 pixel, got {longest_side}."
            raise ValueError(msg)
        super().__init__(**arguments)
        self.longest_side = longest_side
        self.failed = False
        self._root: Path | None = None
        self._crop: list[list[Any]] = []
        self._region: Region | None = None

    def visualize(
        self, predictions: ImageItem | NumpyImageItem | ImageBatch | NumpyImageBatch
    ) -> Image.Image | list[Image.Image | None] | None:
        """Draw predictions.

        Returns:
            A picture, or ``None`` if there is nothing to draw; for a batch of more than one a list of them.
        """
        if isinstance(predictions, ImageItem | NumpyImageItem):
            return self._draw(predictions)
        pictures = list(map(self._draw, predictions))
        return pictures[0] if len(pictures) == 1 else pictures

    def _draw(self, item: Any) -> Image.Image | None:
        if item.image_path and is_address(item.image_path):
            with local_copy(item.image_path) as file:
                return self._draw(replace(item, image_path=str(file)))
        width, height = _size(item)
        item = _on_whole_image(item, (height, width), self._crop)
        # The time for drawing grows with the pixels, and an enlarged image shows no more detail.
        scale = min(self.longest_side, max(width, height, _READABLE)) / max(width, height)
        size = (max(1, round(scale * width)), max(1, round(scale * height)))
        picture = visualize_image_item(
            item,
            fields=self.fields,
            overlay_fields=self.overlay_fields,
            field_size=size,
            fields_config=self.fields_config,
            overlay_fields_config=self.overlay_fields_config,
            text_config=self.text_config,
        )
        if picture is None:
            return None
        return _with_verdict(picture if self._region is None else _outlined(picture, self._region, size[0]), item)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the folder that all images have in common, and what the model sees of each."""
        self._begin(pl_module, trainer.test_dataloaders)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the folder that all images have in common, and what the model sees of each."""
        self._begin(pl_module, trainer.predict_dataloaders)

    def _begin(self, model: LightningModule, loaders: Any) -> None:
        self.failed = False
        self._root = _common_folder(loaders)
        self._crop = crop_steps(getattr(getattr(model, "pre_processor", None), "transform", None))
        mask = region_of(model)
        self._region = None if mask is None else mask.region

    @spared("The rest of the pictures")
    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Draw and write the pictures of a batch.

        Args:
            trainer: The trainer; pictures go to ``images`` in its folder unless ``output_dir`` is given.
            pl_module: Not used.
            outputs: Not used.
            batch: The images with their predictions.
            batch_idx: Number of the batch, which names pictures of images that have no file.
            dataloader_idx: Number of the dataloader, likewise.
        """
        del pl_module, outputs
        if self.output_dir is None:
            self.output_dir = Path(trainer.default_root_dir) / "images"
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            # A list, so that an error in a thread is raised here.
            list(threads.map(self._write, batch, (f"{dataloader_idx}_{batch_idx:05}_{i:03}.png" for i in count())))

    def _write(self, item: Any, name: str) -> None:
        """Draw and write the picture of an image; ``name`` is used if the image has no file."""
        picture = self._draw(item)
        if picture is not None:
            path = cast("Path", self.output_dir) / (self._place(item.image_path) or name)
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_file(path) as partial:
                if path.suffix.lower() == ".png":
                    # OpenCV needs half the time of Pillow's fastest compression, for files of nearly the same size.
                    partial.write_bytes(cv2.imencode(".png", np.asarray(picture)[..., ::-1])[1].tobytes())
                else:
                    picture.save(partial, Image.registered_extensions()[path.suffix.lower()])

    def _place(self, file: str | None) -> Path | None:
        """Where the picture of a file goes, below the folder of pictures."""
        if not file:
            return None
        path = Path(file).absolute()
        if self._root is not None and self._root in path.parents:
            path = path.relative_to(self._root)
        else:
            path = Path(path.parent.name) / path.name
        return path if path.suffix.lower() in Image.registered_extensions() else path.with_name(f"{path.name}.png")


def _size(item: Any) -> tuple[int, int]:
    """Width and height of an image, from its file if there is one."""
    if item.image_path:
        with Image.open(item.image_path) as image:
            return image.size
    shape = item.image.shape
    height, width = shape[-2:] if isinstance(item, ImageItem) else shape[:2]
    return width, height


def _on_whole_image(item: Any, size: tuple[int, int], steps: list[list[Any]]) -> Any:
    """An image from a file, with maps and masks of the whole file if the pre-processor crops."""
    if not steps or not item.image_path:
        return item
    planes = {name: getattr(item, name) for name in ("anomaly_map", "pred_mask", "gt_mask")}
    made = torch.from_numpy if isinstance(item, ImageItem) else np.asarray
    whole = {
        name: on_whole_image(np.asarray(plane).squeeze(), size, steps)
        for name, plane in planes.items()
        if plane is not None
    }
    return replace(item, **{name: None if plane is None else made(plane) for name, plane in whole.items()})


def _outlined(picture: Image.Image, region: Region, width: int) -> Image.Image:
    """Draw the outline of the region of interest into each field of a picture; fields are side by side."""
    fields = np.split(np.asarray(picture), range(width, picture.width, width), axis=1)
    return Image.fromarray(np.concatenate([region.draw(field) for field in fields], axis=1))


def _with_verdict(picture: Image.Image, item: Any) -> Image.Image:
    """Put a line above a picture: the verdict, the score and, if it is known, the truth; a mistake has its colour."""
    score = None if item.pred_score is None else float(item.pred_score)
    if score is None and item.pred_label is None:
        return picture
    if score is not None and not math.isfinite(score):
        verdict, parts = "error", []
    else:
        verdict = "" if item.pred_label is None else ("anomalous" if bool(item.pred_label) else "normal")
        parts = [] if score is None else [f"score {score:.3f}"]
    colour = verdict
    if item.gt_label is not None:
        truth = "anomalous" if bool(item.gt_label) else "normal"
        parts.append(f"truth: {truth}")
        colour = "mistake" if verdict in {"normal", "anomalous"} and verdict != truth else verdict
    text = ", ".join(filter(None, [verdict, *parts]))
    font = ImageFont.load_default(size=_TEXT_SIZE)
    left, top, right, bottom = font.getbbox(text)
    bar = math.ceil(bottom - top) + 2 * _MARGIN
    width = max(picture.width, math.ceil(right - left) + 2 * _MARGIN)
    whole = Image.new("RGB", (width, picture.height + bar), _COLOURS.get(colour, _COLOURS["error"]))
    ImageDraw.Draw(whole).text((_MARGIN - left, _MARGIN - top), text, font=font, fill="white")
    whole.paste(picture, (0, bar))
    return whole


def _common_folder(loaders: Any) -> Path | None:
    """The common folder of all images, or its parent if all are directly in it; ``None`` if files are unknown."""
    files: list[Path] = []
    for loader in loaders if isinstance(loaders, list | tuple) else [loaders]:
        dataset = getattr(loader, "dataset", None)
        samples = getattr(dataset, "samples", None)
        names = getattr(dataset, "image_filenames", None) if samples is None else samples["image_path"]
        if names is None:
            return None
        files += [Path(name).absolute() for name in names]
    if not files:
        return None
    root = Path(os.path.commonpath([file.parent for file in files]))
    # The name of a single folder shows the kind of its images.
    return root.parent if all(file.parent == root for file in files) else root
