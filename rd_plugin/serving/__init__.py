# SPDX-License-Identifier: Apache-2.0
"""An HTTP server that inspects images with the models of a store.

``app`` has the addresses, ``server`` runs it. ``models`` keeps the store's models loaded, each with a ``model_queue``.
``tokens`` and ``limits`` refuse requests, ``metrics`` counts. ``templates/page.html`` is the page at ``/``.

It needs the extra ``serve``.
"""

from .app import Settings, make_app
from .server import check_host, serve
from .tokens import read_tokens

__all__ = ["Settings", "check_host", "make_app", "read_tokens", "serve"]
