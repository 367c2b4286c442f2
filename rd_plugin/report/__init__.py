# SPDX-License-Identifier: Apache-2.0
"""A report on one HTML page: a model's results, their quality and the mistakes.

``thumbnails`` makes small images, ``figures`` draws, and ``page`` defines a report's content and writes it.
``inspected`` makes the report of an inspection, whose images ``selection`` chooses if they are many,
:class:`~rd_plugin.callbacks.ReportWriter` that of a test. ``region`` writes a page to draw a region of interest on an
image, ``overview`` one that links the reports of several products. ``template`` has what all pages are made of.
"""

from rd_plugin.renamed import renamed

from .figures import draw_costs
from .inspected import illustrate, report_results
from .overview import Outcome, overview_table, read_outcomes, write_outcomes, write_overview
from .page import ReportContent, write_report
from .region import write_region_page
from .selection import Selection
from .template import page_part, page_template
from .thumbnails import Thumbnail, make_thumbnail

__all__ = [
    "Outcome",
    "ReportContent",
    "Selection",
    "Thumbnail",
    "draw_costs",
    "illustrate",
    "make_thumbnail",
    "overview_table",
    "page_part",
    "page_template",
    "read_outcomes",
    "report_results",
    "write_outcomes",
    "write_overview",
    "write_region_page",
    "write_report",
]

__getattr__ = renamed(__name__)
