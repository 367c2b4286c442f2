# SPDX-License-Identifier: Apache-2.0
"""Options of ``inspect`` and ``serve`` that send results to other programs."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import PositiveInt

from rd_plugin.delivery import MQTT, Deliverer, Target, Webhook

__all__ = ["add_delivery_arguments", "deliverers"]


def add_delivery_arguments(parser: ArgumentParser) -> None:
    """Add the options."""
    add: Any = parser.add_argument
    add("--mqtt", metavar="HOST/TOPIC", type=str | None, help="send each result to this topic of an MQTT broker")
    add("--webhook", metavar="URL", type=str | None, help="send each result to a web server")
    add("--spool", metavar="FOLDER", type=Path, default=Path("spool"), help="folder for rows that are not sent yet")
    add("--spool_rows", type=PositiveInt, default=100_000, help="maximum number of rows; then the oldest are lost")


def deliverers(arguments: Namespace) -> Iterator[Deliverer]:
    """Yield what sends the results.

    Raises:
        ImportError: If a package is missing.
        OSError: If the spool cannot be used.
        ValueError: If an address is none.
    """
    kinds: tuple[tuple[Callable[[str], Target], str | None], ...] = (
        (MQTT, arguments.mqtt),
        (Webhook, arguments.webhook),
    )
    for kind, address in kinds:
        if address is not None:
            try:
                target = kind(address)
            except ImportError as error:
                msg = f"mqtt and webhook need {error.name}: pip install 'rd-plugin[messages]'."
                raise ImportError(msg) from error
            yield Deliverer(target, arguments.spool, arguments.spool_rows)
