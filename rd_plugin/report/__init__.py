# SPDX-License-Identifier: Apache-2.0
"""A report on one page: what a model says of images, how well, and where it is wrong.

``thumbnails`` makes images small, ``figures`` draws, ``page`` says what a report is made of, and writes it;
``inspected`` makes one of an inspection, :class:`~rd_plugin.callbacks.ReportWriter` after a test.
"""

from .inspected import illustrate, report_results
from .page import ReportContent, write_report
from .thumbnails import Thumbnail, make_thumbnail

__all__ = [
    "ReportContent",
    "Thumbnail",
    "illustrate",
    "make_thumbnail",
    "report_results",
    "write_report",
]
