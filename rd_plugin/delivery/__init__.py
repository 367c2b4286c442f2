# SPDX-License-Identifier: Apache-2.0
"""Results that are sent to other programs as messages, each at least once.

``spool`` keeps rows on disk until they are delivered, ``deliverer`` takes them from there to ``mqtt`` or ``webhook``.
"""

from .deliverer import Deliverer, Target
from .mqtt import MQTT
from .spool import Spool
from .webhook import Webhook

__all__ = ["MQTT", "Deliverer", "Spool", "Target", "Webhook"]
