# SPDX-License-Identifier: Apache-2.0
"""What is on a disk: files that are whole or not there, and files of others that are read without trusting them.

Names are loaded when they are used, so that what needs no torch does not import it.
"""

from lazy_loader import attach_stub

from rd_plugin.renamed import renamed

_load, __dir__, __all__ = attach_stub(__name__, __file__)
__getattr__ = renamed(__name__, _load)
