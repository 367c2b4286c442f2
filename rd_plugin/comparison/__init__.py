# SPDX-License-Identifier: Apache-2.0
"""Our models and anomalib's on the same images, split and teacher.

``methods`` builds them by name, ``training`` trains one, ``trial`` measures it, ``recommendation`` compares them by
``auroc``, and ``page`` shows all.
"""

from .auroc import area_under_roc
from .page import comparison_table, write_comparison
from .recommendation import Recommendation, compare
from .training import fit
from .trial import Trial, image_milliseconds, run_trial

__all__ = [
    "Recommendation",
    "Trial",
    "area_under_roc",
    "compare",
    "comparison_table",
    "fit",
    "image_milliseconds",
    "run_trial",
    "write_comparison",
]
