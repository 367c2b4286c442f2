# SPDX-License-Identifier: Apache-2.0
"""Rows as messages to an MQTT broker."""

import os
from functools import partial
from threading import Event
from typing import Any
from urllib.parse import unquote, urlsplit

__all__ = ["MQTT"]

_PASSWORD = "RD_PLUGIN_MQTT_PASSWORD"  # the name of an environment variable
_SECONDS = 10.0
_PORTS = {"mqtt": 1883, "mqtts": 8883}


class MQTT:
    """A broker that receives each row as a message in JSON, with quality of service 1 (at least once).

    A row has been accepted when the broker acknowledges it. The environment variable ``RD_PLUGIN_MQTT_PASSWORD`` holds
    the user's password, if there is one.

    Args:
        address: ``HOST/TOPIC`` or ``HOST:PORT/TOPIC``; with a user, or encrypted, ``mqtts://USER@HOST/TOPIC``.

    Raises:
        ImportError: If paho-mqtt is not installed.
        ValueError: If it is no such address.
    """

    def __init__(self, address: str) -> None:
        # Part of the extra `messages`.
        import paho.mqtt.client as paho
        from paho.mqtt.enums import CallbackAPIVersion

        parts = urlsplit(address if "://" in address else f"mqtt://{address}")
        self._topic = unquote(parts.path.removeprefix("/"))
        try:
            port = parts.port or _PORTS[parts.scheme]
        except (KeyError, ValueError):
            port = 0
        if not (port and parts.hostname and self._topic) or {"#", "+", "?"} & set(address):
            msg = f"mqtt must be HOST/TOPIC or mqtts://USER@HOST:PORT/TOPIC, without '#', '+' and '?', got {address!r}."
            raise ValueError(msg)
        self.name = f"mqtt {parts.hostname}:{port}/{self._topic}"
        self._new_client = partial(paho.Client, CallbackAPIVersion.VERSION2)
        self._place = (parts.hostname, port)
        self._user = parts.username and unquote(parts.username)
        self._encrypted = parts.scheme == "mqtts"
        self._client: paho.Client | None = None

    def send(self, row: str) -> None:
        """Send a row.

        Raises:
            OSError: If the broker cannot be reached, refuses the connection, or does not acknowledge the row.
        """
        try:
            if self._client is None:
                self._client = self._connected()
            sent = self._client.publish(self._topic, row, qos=1)
            sent.wait_for_publish(_SECONDS)
            acknowledged = sent.is_published()
        except (OSError, RuntimeError, ValueError) as error:  # paho raises the last two when it is not connected
            # A new client, since this one would send the row by itself later.
            self.close()
            msg = f"not reached ({error})"
            raise OSError(msg) from error
        if not acknowledged:
            self.close()
            msg = f"did not acknowledge a row within {_SECONDS:g} s"
            raise OSError(msg)

    def close(self) -> None:
        """Disconnect."""
        if self._client is not None:
            self._client.disconnect()
            self._client.loop_stop()
            self._client = None

    def _connected(self) -> Any:
        """A client that is connected.

        Raises:
            OSError: If the broker cannot be reached or refuses the connection.
        """
        answered, refusals = Event(), list[str]()

        def on_connect(_client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
            if reason.is_failure:
                refusals.append(str(reason))
            answered.set()

        client = self._new_client()
        client.on_connect = on_connect
        if self._user:
            client.username_pw_set(self._user, os.environ.get(_PASSWORD))
        if self._encrypted:
            client.tls_set()
        client.connect_timeout = _SECONDS
        client.connect(*self._place, keepalive=30)
        client.loop_start()
        if not answered.wait(_SECONDS) or refusals:
            client.disconnect()
            client.loop_stop()
            raise OSError(refusals[0] if refusals else f"no answer within {_SECONDS:g} s")
        return client
