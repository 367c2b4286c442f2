# SPDX-License-Identifier: Apache-2.0
"""Rows as messages to a broker, Mosquitto, which is stopped and started."""

import json
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from time import monotonic, sleep

import paho.mqtt.client as paho
import pytest

from rd_plugin.delivery import MQTT, Deliverer, deliverer
from rd_plugin.results import InspectionResult

from ...waiting import free_port, wait_until

# Debian keeps it where only the administrator's path leads.
MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")
with_broker = pytest.mark.skipif(MOSQUITTO is None, reason="needs the broker mosquitto")


class Broker:
    """A broker on a port of its own, and what arrives at it."""

    def __init__(self, folder: Path, anonymous: bool = True) -> None:
        self.port = free_port()
        self._settings = folder / "mosquitto.conf"
        self._settings.write_text(f"listener {self.port} 127.0.0.1\nallow_anonymous {str(anonymous).lower()}\n")
        self.rows: list[str] = []
        self._process: subprocess.Popen | None = None
        self._listener: paho.Client | None = None

    def start_process(self) -> None:
        self._process = subprocess.Popen(
            [str(MOSQUITTO), "-c", str(self._settings)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                break
            except OSError:
                assert monotonic() < end
                sleep(0.05)

    def start(self) -> None:
        self.start_process()
        subscribed = Event()
        self._listener = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self._listener.on_subscribe = lambda *_: subscribed.set()
        self._listener.on_message = lambda _client, _data, message: self.rows.append(
            json.loads(message.payload)["path"]
        )
        self._listener.connect("127.0.0.1", self.port)
        self._listener.subscribe("line/1", qos=1)
        self._listener.loop_start()
        assert subscribed.wait(60)

    def stop(self) -> None:
        if self._listener is not None:
            self._listener.loop_stop()
            self._listener = None
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None

    def wait_for(self, *rows: str) -> None:
        wait_until(lambda: set(rows) <= set(self.rows))


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path)
    broker.start()
    yield broker
    broker.stop()


@with_broker
def test_rows_arrive_though_the_broker_is_stopped_and_started(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliverer, "_SHORTEST", 0.05)
    monkeypatch.setattr(deliverer, "_LONGEST", 0.1)
    monkeypatch.setattr("rd_plugin.delivery.mqtt._SECONDS", 1.0)
    sink = Deliverer(MQTT(f"127.0.0.1:{broker.port}/line/1"), tmp_path / "spool")
    for name in ("1", "2"):
        sink.write(InspectionResult(name, "normal"))
    broker.wait_for("1", "2")
    broker.stop()
    for name in ("3", "4", "5"):
        sink.write(InspectionResult(name, "anomalous"))
    sleep(0.3)
    assert "3" not in broker.rows
    broker.start()
    broker.wait_for("3", "4", "5")
    # At least once, and each first in its order.
    assert list(dict.fromkeys(broker.rows)) == ["1", "2", "3", "4", "5"]
    sink.close()


@with_broker
def test_next_run_sends_what_the_broker_has_not_taken(broker: Broker, tmp_path: Path) -> None:
    broker.stop()
    sink = Deliverer(MQTT(f"127.0.0.1:{broker.port}/line/1"), tmp_path / "spool", patience=0.0)
    sink.write(InspectionResult("1", "normal"))
    sink.close()
    broker.start()
    sink = Deliverer(MQTT(f"mqtt://127.0.0.1:{broker.port}/line/1"), tmp_path / "spool")
    broker.wait_for("1")
    sink.close()


@with_broker
def test_broker_that_refuses_the_user_says_so(tmp_path: Path) -> None:
    broker = Broker(tmp_path, anonymous=False)
    broker.start_process()
    target = MQTT(f"mqtt://robot@127.0.0.1:{broker.port}/line/1")
    with pytest.raises(OSError, match=r"not reached \(Not authorized\)"):
        target.send("{}")
    target.close()
    broker.stop()


def test_broker_that_is_not_there() -> None:
    target = MQTT("127.0.0.1:9/line/1")
    for _ in range(2):
        with pytest.raises(OSError, match="not reached"):
            target.send("{}")
    target.close()


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("broker/line/1", "mqtt broker:1883/line/1"),
        ("broker:1884/a", "mqtt broker:1884/a"),
        ("mqtt://robot@broker/a", "mqtt broker:1883/a"),
        ("mqtts://broker/a/b", "mqtt broker:8883/a/b"),
        ("[::1]/a", "mqtt ::1:1883/a"),
    ],
)
def test_addresses(address: str, name: str) -> None:
    assert MQTT(address).name == name


@pytest.mark.parametrize("address", ["", "broker", "broker/", "/line", "broker/#", "broker/+/a", "http://b/a", "b:x/a"])
def test_what_is_no_address(address: str) -> None:
    with pytest.raises(ValueError, match="mqtt must be HOST/TOPIC"):
        MQTT(address)
