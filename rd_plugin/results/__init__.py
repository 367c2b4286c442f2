# SPDX-License-Identifier: Apache-2.0
"""Results of inspected images, from files, memory or a test run.

``result`` holds the result of one image, ``regions`` finds what a mask marks and which regions count, ``result_file``
writes and reads files of results, ``operating_points`` counts false alarms and defects found, and ``scale`` makes
normalized scores linear.
"""

from .operating_points import RATES, OperatingPoint, Share, operating_points
from .regions import RegionRules, counting_level, find_regions
from .result import AS_A_WHOLE, COLUMNS, NOT_REGISTERED, InspectionResult, Picture, Region
from .result_file import ReadResults, ResultFile, is_standard_output, is_stream, read_results
from .scale import straighten

__all__ = [
    "AS_A_WHOLE",
    "COLUMNS",
    "NOT_REGISTERED",
    "RATES",
    "InspectionResult",
    "OperatingPoint",
    "Picture",
    "ReadResults",
    "Region",
    "RegionRules",
    "ResultFile",
    "Share",
    "counting_level",
    "find_regions",
    "is_standard_output",
    "is_stream",
    "operating_points",
    "read_results",
    "straighten",
]
