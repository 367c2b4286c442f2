# SPDX-License-Identifier: Apache-2.0
"""What an image is read from."""

import numpy as np
import pytest

from rd_plugin.inspection import Source


def test_pixels_are_no_part_of_what_is_compared_or_printed() -> None:
    first, second = (Source("a.mp4#t=0.000", pixels=np.full((2, 2, 3), value, np.uint8)) for value in (0, 1))
    assert first == second
    assert "pixels" not in repr(first)


def test_what_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rd_plugin.inspection.source.read_address", lambda address: address.encode())
    assert Source("a.png").to_decode() == "a.png"
    assert Source("a.png", content=b"content").to_decode() == b"content"
    assert Source("s3://bucket/a.png").to_decode() == b"s3://bucket/a.png"
