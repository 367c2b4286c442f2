# SPDX-License-Identifier: Apache-2.0
"""RD with Expert (Liu, Wang, Leng and Zhang, AAAI 2025)."""

from .lightning_model import ExpertReverseDistillation
from .torch_model import ExpertReverseDistillationModel

__all__ = ["ExpertReverseDistillation", "ExpertReverseDistillationModel"]
