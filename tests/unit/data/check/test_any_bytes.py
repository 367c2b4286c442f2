# SPDX-License-Identifier: Apache-2.0
"""Whatever a file holds: facts or a reason, never a traceback, and no more pixels than allowed."""

import gc
import io
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from rd_plugin.data.check import inspect_file
from rd_plugin.data.check.rules import check_image, check_mask

LIMIT = 100_000
FORMATS = (
    *("AVIF", "BMP", "DDS", "GIF", "ICNS", "ICO", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM", "SGI", "TGA"),
    *("TIFF", "WEBP"),
)
# What the header of an image starts with, for formats that Pillow reads and for those that call for another program.
MAGIC = (
    *(b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"BM", b"II*\x00", b"MM\x00*", b"RIFF\x00\x00\x00\x00WEBP"),
    *(b"P6 9 9 255\n", b"P1\n", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"8BPS", b"\x00\x00\x01\x00", b"icns", b"DDS ", b"qoif"),
    *(b"\x00\x00\x00\x0cjP  \r\n\x87\n", b"\xd7\xcd\xc6\x9a", b"SIMPLE  =", b"\x0a\x05\x01\x08", b"/* XPM */", b""),
)


def _encoded() -> list[bytes]:
    """A small image in every format that Pillow writes, in several modes, single and as a sequence."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (15, 20, 3), dtype=np.uint8))
    found = []
    for name in FORMATS:
        for mode in ("RGB", "P", "I;16", "RGBA"):
            for arguments in ({}, {"save_all": True, "append_images": [noise.rotate(180), noise]}):
                buffer = io.BytesIO()
                try:
                    noise.convert(mode).copy().save(buffer, name, **arguments)
                except Exception:  # not every format takes every mode, and each says so in its own way
                    continue
                found.append(buffer.getvalue())
    return found


ENCODED = _encoded()
VALUES = st.sampled_from(
    [b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x01\x00"]
)


@st.composite
def spoiled_images(draw: st.DrawFn) -> bytes:
    """An image that is cut off, or has a few bytes of its header or its content replaced."""
    content = bytearray(draw(st.sampled_from(ENCODED)))
    for _ in range(draw(st.integers(0, 6))):
        place = draw(st.integers(0, min(len(content), draw(st.sampled_from([64, 400, 100_000])))))
        value = draw(VALUES | st.binary(min_size=1, max_size=4))
        content[place : place + len(value)] = value
    return bytes(content[: draw(st.none() | st.integers(0, len(content)))])


def _resident(which: str) -> int:
    """This process's memory in bytes: now, ``VmRSS``, or at most since its mark was taken back, ``VmHWM``."""
    status = Path("/proc/self/status").read_text()
    return 1024 * int(next(line.split()[1] for line in status.splitlines() if line.startswith(which)))


@pytest.fixture
def _bounded_memory() -> Iterator[None]:
    """Fail if the test ever takes 64 MiB more than before: two hundred times an image of the allowed size."""
    mark = Path("/proc/self/clear_refs")
    if not mark.exists():
        yield
        return
    gc.collect()
    mark.write_text("5")
    before = _resident("VmRSS")
    yield
    assert _resident("VmHWM") - before < 64 * 2**20


@pytest.mark.usefixtures("_bounded_memory")
@pytest.mark.filterwarnings("ignore")
@given(content=spoiled_images() | st.builds(bytes.__add__, st.sampled_from(MAGIC), st.binary(max_size=200)))
@settings(
    max_examples=1_000, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_bytes_are_facts_or_a_reason(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        facts = inspect_file(path, LIMIT)
    problems = check_image(str(path), facts)
    if facts.error is None:
        assert 0 < facts.width * facts.height <= LIMIT
        assert facts.mode
        assert facts.digest
        assert facts.frames >= 1
    else:
        assert [problem.severity for problem in problems] == ["error"]
    for problem in (*problems, *check_mask(str(path), facts, facts)):
        assert len(str(problem).splitlines()) == 1
