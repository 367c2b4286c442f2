# SPDX-License-Identifier: Apache-2.0
"""What people say of a model's verdicts, and how a model takes it in.

``labels`` reads the file that a report's page saves, ``statistics`` adds normal images to a fused model's statistics,
and ``update`` measures before and after, sets the threshold and writes the model.
"""

from .update import Update, update_model

__all__ = ["Update", "update_model"]
