# SPDX-License-Identifier: Apache-2.0
"""Files on a disk: written completely or not at all, and read without trusting their content.

Names are loaded when they are used, so that what needs no torch does not import it.
"""

from lazy_loader import attach_stub

from rd_plugin.renamed import renamed

_load, __dir__, __all__ = attach_stub(__name__, __file__)
__getattr__ = renamed(__name__, _load)
