# SPDX-License-Identifier: Apache-2.0
"""From a trained model and image files, or a camera's arrays, to verdicts.

``inspector`` is the room's face: it reads (``rd_plugin.data.check``), judges and finds regions (``regions``), many at a
time and in order (``pipeline``). ``loading`` finds what runs a model: ``openvino_judge``, ``onnx_judge`` or
``torch_judge``, each a ``judge``. Images come from ``sources`` or, as they appear in a folder, from ``watch``; rows
(``row``) go to ``sinks`` and, drawn, into a folder of ``pictures``. ``resume`` reads what an earlier run has written.
"""

from .inspector import Inspector, MultiFrame
from .judge import Judge, Precision, Prediction
from .loading import load_judge
from .pictures import PictureFolder, draw
from .regions import Region, find_regions
from .resume import Earlier, earlier_rows
from .row import Picture, Row
from .sinks import CSVFile, JSONLines, Progress, Sink, Text
from .sources import Source, common_folder, find_images
from .watch import watch

__all__ = [
    "CSVFile",
    "Earlier",
    "Inspector",
    "JSONLines",
    "Judge",
    "MultiFrame",
    "Picture",
    "PictureFolder",
    "Precision",
    "Prediction",
    "Progress",
    "Region",
    "Row",
    "Sink",
    "Source",
    "Text",
    "common_folder",
    "draw",
    "earlier_rows",
    "find_images",
    "find_regions",
    "load_judge",
    "watch",
]
