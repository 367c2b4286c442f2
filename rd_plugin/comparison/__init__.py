# SPDX-License-Identifier: Apache-2.0
"""Our models and anomalib's on the same images, split and teacher.

``methods`` builds them by name, ``trial`` trains and measures one, ``recommendation`` compares them, and ``page`` shows
all.
"""

from .page import comparison_table, write_comparison
from .recommendation import Recommendation, compare
from .trial import Trial, image_milliseconds, run_trial

__all__ = [
    "Recommendation",
    "Trial",
    "compare",
    "comparison_table",
    "image_milliseconds",
    "run_trial",
    "write_comparison",
]
