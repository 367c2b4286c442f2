# SPDX-License-Identifier: Apache-2.0
"""Results of inspected images, from files, memory or a test run.

``result`` holds the result of one image, ``regions`` finds what a mask marks and which regions count, ``result_file``
writes and reads files of results, ``parquet`` folders of them, ``operating_points`` counts false alarms and defects
found, and ``scale`` makes normalized scores linear.
"""

from .operating_points import RATES, OperatingPoint, Share, operating_points
from .parquet import ParquetFolder, done_paths, in_order, prepare_folder, remove_strays, results_of, text_of, to_table
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
    "ParquetFolder",
    "Picture",
    "ReadResults",
    "Region",
    "RegionRules",
    "ResultFile",
    "Share",
    "counting_level",
    "done_paths",
    "find_regions",
    "in_order",
    "is_standard_output",
    "is_stream",
    "operating_points",
    "prepare_folder",
    "read_results",
    "remove_strays",
    "results_of",
    "straighten",
    "text_of",
    "to_table",
]
