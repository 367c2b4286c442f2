# SPDX-License-Identifier: Apache-2.0
"""A new threshold for a trained model, without training: ``choice`` finds it, ``writing`` writes the model."""

from .choice import Choice, choose, measure
from .writing import with_threshold, write_threshold

__all__ = ["Choice", "choose", "measure", "with_threshold", "write_threshold"]
