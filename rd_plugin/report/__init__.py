# SPDX-License-Identifier: Apache-2.0
"""A report of what was judged: one HTML file with verdicts, pictures and curves, without network or server.

``judged`` says what a report tells of, ``pictures`` keeps small pictures, ``figures`` draws, ``page`` writes;
``callback`` does so after a test, ``verdicts`` reads what ``rd-plugin inspect`` has written.
"""

from .callback import ReportWriter
from .judged import JudgedImage, Judgement
from .page import write_report
from .pictures import PictureStore
from .verdicts import illustrate, read_verdicts, report_verdicts

__all__ = [
    "JudgedImage",
    "Judgement",
    "PictureStore",
    "ReportWriter",
    "illustrate",
    "read_verdicts",
    "report_verdicts",
    "write_report",
]
