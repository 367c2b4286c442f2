# SPDX-License-Identifier: Apache-2.0
"""What is known of inspected images, whether they come from a file, from memory or from a test run.

``result`` holds one image's result, ``result_file`` writes and reads files of them, ``operating_points`` counts false
alarms and defects found.
"""

from .operating_points import RATES, OperatingPoint, Share, operating_points
from .result import COLUMNS, InspectionResult, Picture, Region
from .result_file import ReadResults, ResultFile, read_results

__all__ = [
    "COLUMNS",
    "RATES",
    "InspectionResult",
    "OperatingPoint",
    "Picture",
    "ReadResults",
    "Region",
    "ResultFile",
    "Share",
    "operating_points",
    "read_results",
]
