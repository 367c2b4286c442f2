# SPDX-License-Identifier: Apache-2.0
"""A report on one page: what a model says of images, how well, and where it is wrong.

``content`` is what a report is made of, ``thumbnails`` keeps small images, ``figures`` draws, ``page`` writes;
``callback`` does so after a test, ``inspected`` after an inspection.
"""

from .callback import ReportWriter
from .content import ReportContent
from .inspected import illustrate, report_results
from .page import write_report
from .thumbnails import Thumbnail, ThumbnailStore

__all__ = [
    "ReportContent",
    "ReportWriter",
    "Thumbnail",
    "ThumbnailStore",
    "illustrate",
    "report_results",
    "write_report",
]
