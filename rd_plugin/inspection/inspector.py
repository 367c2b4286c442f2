# SPDX-License-Identifier: Apache-2.0
"""A trained model that judges image files and arrays."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Event, Lock
from time import perf_counter
from typing import Literal

import numpy as np

from rd_plugin.data.check import MAX_PIXELS, allow_pixels, check_image, read_file
from rd_plugin.data.crop import on_whole_image
from rd_plugin.drift import DriftMonitor, image_statistics

from .judge import Judge, Precision
from .loading import load_judge
from .pipeline import in_order
from .regions import find_regions
from .row import Picture, Row
from .sources import Source, find_images

__all__ = ["Inspector", "MultiFrame"]

MultiFrame = Literal["first", "refuse"]


class Inspector:
    """A trained model that judges image files and arrays.

    Args:
        model: An OpenVINO model (``.xml``), ONNX model (``.onnx``), torch export (``.pt``) or checkpoint (``.ckpt``);
            or what :func:`~rd_plugin.inspection.load_judge` returned.
        max_pixels: Greatest number of pixels in an image file.
        multi_frame: What to do about a file with several images: judge the ``"first"``, or ``"refuse"`` it.
        threads: How many threads the model computes with; all cores by default.
        workers: How many threads read images; as many as there are cores by default.
        mode: ``"throughput"`` for most images a second, ``"latency"`` for the shortest time an image (OpenVINO).
        precision: ``"float32"``, as the engine, or ``"bfloat16"``: a quarter faster where the processor has
            instructions for it, and less exact (OpenVINO).
        window: How many of the last images are compared with those that the model was trained on; ``None`` for all.

    Attributes:
        drift: What compares them, image by image; ``None`` if the model's record has nothing to compare with.

    Raises:
        FileNotFoundError: If there is no such model.
        ImportError: If what runs it is not installed.
        ValueError: If the model cannot be used, or an argument is out of range.

    Example:
        ::

            inspector = Inspector("model.xml")
            for row in inspector(["parts"]):
                print(row.path, row.verdict, row.score)
            inspector.judge(camera_frame).boxes
    """

    def __init__(
        self,
        model: str | Path | Judge,
        *,
        max_pixels: int = MAX_PIXELS,
        multi_frame: MultiFrame = "first",
        threads: int | None = None,
        workers: int | None = None,
        mode: Literal["throughput", "latency"] = "throughput",
        precision: Precision = "float32",
        window: int | None = None,
    ) -> None:
        for name, value in (("threads", threads), ("workers", workers)):
            if value is not None and value < 1:
                msg = f"{name} must be at least 1, got {value}."
                raise ValueError(msg)
        if multi_frame not in {"first", "refuse"}:
            msg = f"multi_frame must be 'first' or 'refuse', got {multi_frame!r}."
            raise ValueError(msg)
        allow_pixels(max_pixels)
        self.judge_of_images = model if isinstance(model, Judge) else load_judge(Path(model), threads, mode, precision)
        reference = self.judge_of_images.reference
        self.drift = None if reference is None else DriftMonitor(reference, window)
        self._comparing = Lock()
        self._max_pixels = max_pixels
        self._multi_frame = multi_frame
        self._workers = (workers or os.cpu_count() or 1) + self.judge_of_images.parallel

    def __call__(self, paths: str | Path | Sequence[str | Path], pictures: bool = False) -> Iterator[Row]:
        """Judge image files; one that cannot be judged is a row with its reason.

        Args:
            paths: Files, folders (searched at any depth) or patterns.
            pictures: Whether rows hold image, map and mask, which takes memory as long as a row is kept.

        Returns:
            Rows in the order of the files, each as soon as it is known.
        """
        given = [paths] if isinstance(paths, str | Path) else paths
        return self.rows(find_images(map(str, given)), pictures)

    def rows(
        self,
        sources: Iterable[Source],
        pictures: bool = False,
        each: Sequence[Callable[[Row], None]] = (),
        stop: Event | None = None,
    ) -> Iterator[Row]:
        """Judge image files as their paths come in.

        Args:
            sources: The files.
            pictures: Whether rows hold image, map and mask.
            each: Called with each row and its picture before it is yielded, in the thread that has judged it: for what
                takes long and need not be in order.
            stop: When it is set, no more sources are taken.

        Returns:
            Rows in the order of the files, each as soon as it is known.
        """

        def work(source: Source) -> Row:
            row = self._row(source)
            for act in each:
                act(row)
            return row if pictures else replace(row, picture=None)

        return map(self._compared, in_order(work, sources, self._workers, stop))

    def judge(self, image: np.ndarray, path: str = "") -> Row:
        """Judge an image in memory, such as a camera's frame.

        Args:
            image: 8-bit pixels of shape ``(H, W, 3)``, RGB, or grey ones of shape ``(H, W)`` or ``(H, W, 1)``.
            path: What the row is to call it.

        Returns:
            The row, with its picture.

        Raises:
            TypeError: If the image is no array of 8-bit pixels.
            ValueError: If it has another shape, or the model does not take its size.
        """
        pixels = _rgb(image)
        if reason := self._misfit(pixels.shape[0], pixels.shape[1]):
            raise ValueError(reason)
        return self._compared(self._judged(path, pixels))

    def _row(self, source: Source) -> Row:
        """Judge a file; whatever is wrong with it, the others are still to be judged."""
        if source.missing:
            return self._not_judged(source.path, source.missing)
        start = perf_counter()
        facts, pixels = read_file(source.path, self._max_pixels)
        for problem in check_image(source.path, facts):
            if problem.severity == "error":
                return self._not_judged(source.path, problem.message)
        if facts.frames > 1 and self._multi_frame == "refuse":
            return self._not_judged(source.path, f"the file holds {facts.frames} images, and multi_frame is 'refuse'.")
        if reason := self._misfit(facts.height, facts.width):
            return self._not_judged(source.path, reason)
        reading = 1e3 * (perf_counter() - start)
        try:
            return self._judged(source.path, np.asarray(pixels), reading)
        except Exception as error:  # of torch, ONNX Runtime or OpenVINO, each of which raises its own kinds
            return self._not_judged(source.path, f"the image cannot be judged ({' '.join(str(error).split())}).")

    def _judged(self, path: str, pixels: np.ndarray, reading: float = 0.0) -> Row:
        """Judge pixels that the model takes."""
        judge = self.judge_of_images
        start = perf_counter()
        statistics = None if self.drift is None else image_statistics(pixels)
        reading += 1e3 * (perf_counter() - start)
        found = judge.judge(pixels)
        if not math.isfinite(found.score):
            return self._not_judged(path, "the model gives no score that is a number.")
        size = (pixels.shape[0], pixels.shape[1])
        anomaly_map, mask = (
            None if plane is None else on_whole_image(plane, size, judge.record.get("crop", ()))
            for plane in (found.anomaly_map, found.mask)
        )
        return Row(
            path,
            "anomalous" if found.anomalous else "normal",
            round(found.score, 6),
            judge.threshold,
            () if mask is None else find_regions(mask, anomaly_map, size),
            round(reading + found.milliseconds, 1),
            judge.record_id,
            picture=Picture(pixels, anomaly_map, mask),
            statistics=statistics,
        )

    def _compared(self, row: Row) -> Row:
        """Say whether the images have drifted by now."""
        if self.drift is None:
            return row
        with self._comparing:
            drifted = self.drift.drifted
            if row.statistics is not None and row.score is not None:
                drifted = self.drift.add(row.statistics, row.score)
        return replace(row, statistics=None, drift="" if drifted is None else "yes" if drifted else "no")

    def _not_judged(self, path: str, reason: str) -> Row:
        judge = self.judge_of_images
        return Row(path, "not judged", threshold=judge.threshold, model=judge.record_id, reason=reason)

    def _misfit(self, height: int, width: int) -> str | None:
        """Why an image is of no size that the model takes."""
        size = self.judge_of_images.image_size
        if size is None or size == (height, width):
            return None
        return (
            f"the image has {width} x {height} pixels, the model takes {size[1]} x {size[0]} only; resize it, or "
            "export the model without --input_size."
        )


def _rgb(image: np.ndarray) -> np.ndarray:
    """Give an array three equal channels if it is grey."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        msg = f"image must be a numpy array of uint8, got {kind}."
        raise TypeError(msg)
    grey = image.ndim == 2 or (image.ndim == 3 and image.shape[2] == 1)
    if not (grey or (image.ndim == 3 and image.shape[2] == 3)) or 0 in image.shape:
        msg = f"image must have shape (H, W), (H, W, 1) or (H, W, 3), got {image.shape}."
        raise ValueError(msg)
    return np.repeat(image.reshape(*image.shape[:2], 1), 3, axis=2) if grey else image
