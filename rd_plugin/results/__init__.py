# SPDX-License-Identifier: Apache-2.0
"""Results of inspected images, from files, memory or a test run.

``result`` holds the result of one image, ``result_file`` writes and reads files of results, and ``operating_points``
counts false alarms and defects found.
"""

from .operating_points import RATES, OperatingPoint, Share, operating_points
from .result import AS_A_WHOLE, COLUMNS, InspectionResult, Picture, Region
from .result_file import ReadResults, ResultFile, is_standard_output, is_stream, read_results

__all__ = [
    "AS_A_WHOLE",
    "COLUMNS",
    "RATES",
    "InspectionResult",
    "OperatingPoint",
    "Picture",
    "ReadResults",
    "Region",
    "ResultFile",
    "Share",
    "is_standard_output",
    "is_stream",
    "operating_points",
    "read_results",
]
