# SPDX-License-Identifier: Apache-2.0
"""Updates of a model from people's corrections of its verdicts.

``statistics`` adds normal images to a fused model's statistics, ``training`` trains the other models for a few steps,
and ``update`` measures before and after, sets the threshold and writes the model.
"""

from .update import Update, update_model

__all__ = ["Update", "update_model"]
