# SPDX-License-Identifier: Apache-2.0
"""Several products at one station: a folder of models by name, and their inspection.

``store`` keeps the models, ``mixed`` inspects each image with the model of its own product.
"""

from .mixed import MixedInspector
from .store import Product, Store, checked_name

__all__ = ["MixedInspector", "Product", "Store", "checked_name"]
