# SPDX-License-Identifier: Apache-2.0
"""Checkpoints of other reverse-distillation programs turned into this package's.

On the command line: ``rd-plugin convert --help``. Each program has a file with one function of its own; files
are read and written in ``files``, tensors carried over in ``transfer``, by the names in ``names``.
"""

from .anomalib import convert_anomalib
from .rd4ad import convert_rd4ad
from .urd import convert_urd

__all__ = ["convert_anomalib", "convert_rd4ad", "convert_urd"]
