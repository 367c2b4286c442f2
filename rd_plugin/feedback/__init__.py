# SPDX-License-Identifier: Apache-2.0
"""How a model takes in what people say of its verdicts.

``statistics`` adds normal images to a fused model's statistics, ``training`` trains the other models for a few steps,
and ``update`` measures before and after, sets the threshold and writes the model.
"""

from .update import Update, update_model

__all__ = ["Update", "update_model"]
