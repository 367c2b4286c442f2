# SPDX-License-Identifier: Apache-2.0
"""Files as they appear: each once, and none before it is whole."""

from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Queue
from threading import Event, Thread
from time import sleep

import pytest
from watchdog.observers import Observer

from rd_plugin.inspection import Source, watch

Watched = Callable[..., Queue]


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
    while found.empty():
        (tmp_path / "begun.png").write_text("image")
        sleep(0.05)
    return found


def test_files_that_are_there_and_files_that_come(tmp_path: Path, watched: Watched) -> None:
    (tmp_path / "known.png").write_text("known")
    (tmp_path / "there.png").write_text("there")
    found = watched(settled=0.05, known={str(tmp_path / "known.png")})
    assert _get(found, tmp_path) == "there.png"
    (tmp_path / "note.txt").write_text("no image")
    (tmp_path / "cam1").mkdir()
    (tmp_path / "cam1" / "closed.PNG").write_text("image")
    assert _get(found, tmp_path) == "cam1/closed.PNG"
    # As rsync does: another name until it is whole.
    (tmp_path / ".moved.jpg.Xy12").write_text("image")
    (tmp_path / ".moved.jpg.Xy12").rename(tmp_path / "moved.jpg")
    assert _get(found, tmp_path) == "moved.jpg"
    # Another image of the same name is another image.
    (tmp_path / "moved.jpg").write_text("other image")
    assert _get(found, tmp_path) == "moved.jpg"
    assert found.empty()


def test_a_file_is_not_taken_while_it_is_written(tmp_path: Path, watched: Watched) -> None:
    found = _begun(watched(settled=60), tmp_path)
    with (tmp_path / "slow.png").open("w") as file:
        for piece in range(20):
            file.write(f"{piece}")
            file.flush()
            (tmp_path / f"{piece}.png").write_text("quick")
            # The other one is seen, so this one was, too.
            assert _get(found, tmp_path) == f"{piece}.png"
    assert _get(found, tmp_path) == "slow.png"
    assert found.empty()


def test_files_that_no_event_tells_of_are_found(
    tmp_path: Path, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on a network drive.
    monkeypatch.setattr(Observer, "schedule", lambda *_, **__: None)
    found = watched(settled=0.05, rescan=0.01)
    for name in ("1.png", "2.png"):
        (tmp_path / name).write_text("image")
        assert _get(found, tmp_path) == name
    (tmp_path / "1.png").unlink()
    (tmp_path / "3.png").write_text("image")
    assert _get(found, tmp_path) == "3.png"
    (tmp_path / "1.png").write_text("image")
    assert _get(found, tmp_path) == "1.png"
    assert found.empty()


def test_an_empty_file_waits_for_its_content(tmp_path: Path, watched: Watched) -> None:
    found = _begun(watched(settled=60), tmp_path)
    (tmp_path / "touched.png").touch()
    (tmp_path / "whole.png").write_text("image")
    assert _get(found, tmp_path) == "whole.png"
    (tmp_path / "touched.png").write_text("image")
    assert _get(found, tmp_path) == "touched.png"
