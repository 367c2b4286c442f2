# SPDX-License-Identifier: Apache-2.0
"""Files as they appear: each once, and none before it is whole."""

import logging
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from queue import Queue
from threading import Event, Thread

import pytest
from PIL import Image
from watchdog.observers import Observer

from rd_plugin.inspection import Source, watch

from ...waiting import wait_until

Watched = Callable[..., Queue]


def _png(level: int = 0) -> bytes:
    """An image file."""
    file = BytesIO()
    Image.effect_noise((32, 32), level).save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """What a watch of a folder yields, as it yields it."""
    stop, threads = Event(), []

    def start(**arguments: object) -> "Queue[Source]":
        found: Queue[Source] = Queue()

        def run() -> None:
            for source in watch([str(tmp_path)], stop, glance=0.01, **arguments):
                found.put(source)

        threads.append(Thread(target=run))
        threads[-1].start()
        return found

    yield start
    stop.set()
    for thread in threads:
        thread.join(60)


def _get(found: "Queue[Source]", tmp_path: Path) -> str:
    """The next file, but for the one that shows that the watch has begun."""
    while (name := str(Path(found.get(timeout=20).path).relative_to(tmp_path))) == "begun.png":
        pass
    return name


def _begun(found: "Queue[Source]", tmp_path: Path) -> "Queue[Source]":
    """Wait until events are heard."""

    def heard() -> bool:
        (tmp_path / "begun.png").write_bytes(_png())
        return not found.empty()

    wait_until(heard)
    return found


def test_files_that_are_there_and_files_that_come(tmp_path: Path, watched: Watched) -> None:
    (tmp_path / "known.png").write_bytes(_png())
    (tmp_path / "there.png").write_bytes(_png())
    found = watched(settle=0.05, known={str(tmp_path / "known.png")})
    assert _get(found, tmp_path) == "there.png"
    (tmp_path / "note.txt").write_text("no image")
    (tmp_path / "cam1").mkdir()
    (tmp_path / "cam1" / "closed.PNG").write_bytes(_png())
    assert _get(found, tmp_path) == "cam1/closed.PNG"
    # As rsync does: another name until it is whole.
    (tmp_path / ".moved.jpg.Xy12").write_bytes(_png())
    (tmp_path / ".moved.jpg.Xy12").rename(tmp_path / "moved.jpg")
    assert _get(found, tmp_path) == "moved.jpg"
    # Another image of the same name is another image.
    (tmp_path / "moved.jpg").write_bytes(_png(50))
    assert _get(found, tmp_path) == "moved.jpg"
    assert found.empty()


def test_a_file_is_not_taken_while_it_is_written(tmp_path: Path, watched: Watched) -> None:
    found = _begun(watched(settle=60), tmp_path)
    image = _png(9)
    with (tmp_path / "slow.png").open("wb") as file:
        for piece in range(10):
            file.write(image[piece * len(image) // 10 : (piece + 1) * len(image) // 10])
            file.flush()
            (tmp_path / f"{piece}.png").write_bytes(_png())
            # The other one is seen, so this one was, too.
            assert _get(found, tmp_path) == f"{piece}.png"
    assert _get(found, tmp_path) == "slow.png"
    assert found.empty()


def test_files_that_no_event_tells_of_are_found(
    tmp_path: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a network drive.
    monkeypatch.setattr(Observer, "schedule", lambda *_, **__: None)
    found = watched(settle=0.05, rescan=0.01)
    for name in ("1.png", "2.png"):
        (tmp_path / name).write_bytes(_png())
        assert _get(found, tmp_path) == name
    (tmp_path / "1.png").unlink()
    (tmp_path / "3.png").write_bytes(_png())
    assert _get(found, tmp_path) == "3.png"
    (tmp_path / "1.png").write_bytes(_png())
    assert _get(found, tmp_path) == "1.png"
    assert found.empty()


def test_an_empty_file_waits_for_its_content(tmp_path: Path, watched: Watched) -> None:
    found = _begun(watched(settle=60), tmp_path)
    (tmp_path / "touched.png").touch()
    (tmp_path / "whole.png").write_bytes(_png())
    assert _get(found, tmp_path) == "whole.png"
    (tmp_path / "touched.png").write_bytes(_png())
    assert _get(found, tmp_path) == "touched.png"


def test_a_file_that_is_closed_after_each_piece_is_taken_once(tmp_path: Path, watched: Watched) -> None:
    """As a copying program does that opens the file again."""
    found = _begun(watched(settle=60, quiet=0.01), tmp_path)
    image = _png(9)
    for end in (100, 300, len(image)):
        (tmp_path / "pieces.png").write_bytes(image[:end])
        (tmp_path / f"{end}.png").write_bytes(_png())
        if end < len(image):
            assert _get(found, tmp_path) == f"{end}.png"
    assert {_get(found, tmp_path), _get(found, tmp_path)} == {"pieces.png", f"{end}.png"}
    assert found.empty()


def test_a_damaged_file_is_taken_when_it_does_not_grow_any_more(tmp_path: Path, watched: Watched) -> None:
    found = _begun(watched(settle=0.3), tmp_path)
    (tmp_path / "damaged.png").write_bytes(_png(9)[:100])
    assert _get(found, tmp_path) == "damaged.png"
    (tmp_path / "empty.png").touch()
    assert _get(found, tmp_path) == "empty.png"
    with pytest.raises(ValueError, match=r"settle must be at least 0 seconds, got -1\."):
        next(watch([str(tmp_path)], Event(), settle=-1))


def test_what_is_left_out_is_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for name in ("good/1.png", "mask/1.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(_png())
    (tmp_path / "notes.txt").write_text("none")
    stop = Event()
    for source in watch([str(tmp_path)], stop, settle=0.2, glance=0.01, rescan=0.01):
        if source.path.endswith("1.png"):
            (tmp_path / "2.xyz").touch()
            (tmp_path / "late.png").write_bytes(_png())
        else:
            assert source.path.endswith("late.png")
            stop.set()
    before, after = f"{tmp_path}: 1 masks are left out", f"{tmp_path}: other files are left out (1 .txt, 1 .xyz)."
    assert before in caplog.text
    assert f"{tmp_path}: other files are left out (1 .txt)." in caplog.text
    assert after in caplog.text
