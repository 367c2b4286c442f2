# SPDX-License-Identifier: Apache-2.0
"""A check of every image and mask, once, before a training uses them.

``files`` reads one file, ``survey`` reads many and keeps the results, ``rules`` find problems, ``datamodule`` applies
them to all splits; ``unread`` finds files that are skipped, ``pairs`` missing masks, without which there are no splits.
``actions`` lists problems, stops or leaves files out. :class:`~rd_plugin.callbacks.DataCheck`
does all this before a training, a test or a prediction.

Names are loaded when they are used, so that what needs no torch does not import it.
"""

from lazy_loader import attach_stub

from rd_plugin.renamed import renamed

_load, __dir__, __all__ = attach_stub(__name__, __file__)
__getattr__ = renamed(__name__, _load)
