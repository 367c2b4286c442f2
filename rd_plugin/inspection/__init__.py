# SPDX-License-Identifier: Apache-2.0
"""Inspection of image files and camera frames with a trained model.

``inspector`` is the entry point: it reads images (``rd_plugin.data.check``), predicts, and finds regions
(``rd_plugin.results``), many at a time and in order (``pipeline``). ``loading`` loads a model:
``openvino_inferencer``, ``onnx_inferencer`` or ``torch_inferencer``, each an ``inferencer``; ``registry`` fetches one
from MLflow. Images come from
``sources``, among them the ``frames`` of videos, or, as they appear in a folder, from ``watch``. ``sinks`` show the
results (``rd_plugin.results``), ``drawing`` draws them, and ``resume`` reads those of an earlier run.
``remote`` finds images in object storage, and ``ray_engine`` inspects on all machines of a cluster.
"""

from rd_plugin.renamed import renamed

from .drawing import PictureFolder, draw
from .frames import is_video
from .inferencer import Inferencer, Precision, Prediction
from .inspector import Inspector, MultiFrame
from .loading import load_inferencer, model_files, recorded_parts
from .registry import fetched
from .resume import Earlier, earlier_results, earlier_rows
from .sinks import Progress, Sink, Text
from .source import Source
from .sources import common_folder, find_images
from .watch import SETTLE, watch

__all__ = [
    "SETTLE",
    "Earlier",
    "Inferencer",
    "Inspector",
    "MultiFrame",
    "PictureFolder",
    "Precision",
    "Prediction",
    "Progress",
    "Sink",
    "Source",
    "Text",
    "common_folder",
    "draw",
    "earlier_results",
    "earlier_rows",
    "fetched",
    "find_images",
    "is_video",
    "load_inferencer",
    "model_files",
    "recorded_parts",
    "watch",
]

__getattr__ = renamed(__name__)
