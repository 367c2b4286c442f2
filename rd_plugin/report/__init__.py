# SPDX-License-Identifier: Apache-2.0
"""A report of what was judged: one HTML file with verdicts, pictures and curves, without network or server.

``judged`` says what a report tells of, ``pictures`` keeps small pictures, ``figures`` draws, ``page`` writes,
``verdicts`` reads what ``rd-plugin inspect`` has written. :class:`~rd_plugin.callbacks.ReportWriter` writes a report
after a test.
"""

from .judged import JudgedImage, Judgement
from .page import write_report
from .pictures import PictureStore
from .verdicts import illustrate, read_verdicts, report_verdicts

__all__ = [
    "JudgedImage",
    "Judgement",
    "PictureStore",
    "illustrate",
    "read_verdicts",
    "report_verdicts",
    "write_report",
]
