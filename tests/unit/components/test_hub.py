# SPDX-License-Identifier: Apache-2.0
"""Weights on the Hub: from its cache without a network, and no long wait where there is none."""

from pathlib import Path

import pytest

from rd_plugin.components import Teacher, hub

BACKBONE = "resnet18"


def test_weights_that_are_cached_need_no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find(repository: str, name: str) -> str | None:
        assert repository.startswith(f"timm/{BACKBONE}")
        return str(tmp_path / name) if name == "model.safetensors" else None

    monkeypatch.setattr(hub, "try_to_load_from_cache", find)
    monkeypatch.setattr(hub, "get_session", lambda: pytest.fail("asked the Hub"))
    assert hub.hub_source(BACKBONE) == {"file": str(tmp_path / "model.safetensors")}


def test_weights_that_are_not_cached_are_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    class Session:
        def head(self, url: str, timeout: float) -> None:
            assert url.startswith("https://")
            assert timeout <= 10

    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(hub, "get_session", Session)
    assert hub.hub_source(BACKBONE) == {}


def test_hub_that_cannot_be_reached_is_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    class Session:
        def head(self, url: str, timeout: float) -> None:
            asked.append((url, timeout))
            msg = "Name or service not known"
            raise RuntimeError(msg)

    monkeypatch.setattr(hub, "try_to_load_from_cache", lambda *_: None)
    monkeypatch.setattr(hub, "get_session", Session)
    message = r"'resnet18' could not be downloaded \(https.* cannot be reached: Name or service not known\)\."
    with pytest.raises(ConnectionError, match=message):
        Teacher(BACKBONE).load_pretrained()
    assert len(asked) == 1
