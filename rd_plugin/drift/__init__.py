# SPDX-License-Identifier: Apache-2.0
"""Drift detection: do new images differ from the training images?

``appearance`` describes an image by a few statistics. ``reference`` holds a sample of statistics and scores in a
model's record. ``comparison`` tests whether two samples differ, and ``monitor`` tests a run while images arrive, with
a false-alarm rate for the whole run. ``outliers`` finds unusual images within one set.
:class:`~rd_plugin.callbacks.ReferenceWriter` makes the reference in a training.
"""

from rd_plugin.renamed import renamed

from .appearance import STATISTICS, file_statistics, image_statistics
from .comparison import energy_test, higher_scores_test
from .monitor import FALSE_ALARM_RATE, DriftMonitor, Look
from .outliers import check_outliers
from .reference import Reference

__all__ = [
    "FALSE_ALARM_RATE",
    "STATISTICS",
    "DriftMonitor",
    "Look",
    "Reference",
    "check_outliers",
    "energy_test",
    "file_statistics",
    "higher_scores_test",
    "image_statistics",
]

__getattr__ = renamed(__name__)
