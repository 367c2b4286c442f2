# SPDX-License-Identifier: Apache-2.0
"""Do new images differ from the training images?

``appearance`` describes an image in a few numbers, ``reference`` is a sample of them and of scores that a model's
record keeps, ``comparison`` tests whether two samples differ, ``monitor`` does so while images come in, at a
false-alarm rate for the run as a whole.
:class:`~rd_plugin.callbacks.ReferenceWriter` makes the reference in a training.
"""

from .appearance import STATISTICS, image_statistics
from .comparison import energy_test, higher_scores_test
from .monitor import FALSE_ALARM_RATE, DriftMonitor, Look
from .reference import Reference

__all__ = [
    "FALSE_ALARM_RATE",
    "STATISTICS",
    "DriftMonitor",
    "Look",
    "Reference",
    "energy_test",
    "higher_scores_test",
    "image_statistics",
]
