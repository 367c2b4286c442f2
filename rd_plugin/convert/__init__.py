# SPDX-License-Identifier: Apache-2.0
"""Conversion of checkpoints of other reverse-distillation programs to this package's.

On the command line: ``rd-plugin convert --help``. Each program has a file with one function. ``files`` reads and writes
files, ``transfer`` copies tensors, and ``names`` maps their names.
"""

from .anomalib import convert_anomalib
from .anomalib_dinomaly import convert_anomalib_dinomaly
from .dinomaly import convert_dinomaly
from .rd4ad import convert_rd4ad
from .rdpp import convert_rdpp
from .urd import convert_urd

__all__ = [
    "convert_anomalib",
    "convert_anomalib_dinomaly",
    "convert_dinomaly",
    "convert_rd4ad",
    "convert_rdpp",
    "convert_urd",
]
