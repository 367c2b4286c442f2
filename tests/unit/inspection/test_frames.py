# SPDX-License-Identifier: Apache-2.0
"""Frames of videos and streams."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from time import sleep
from typing import Any

import numpy as np
import pytest

from rd_plugin.inspection import Inspector, Prediction, Source, find_images, is_video
from rd_plugin.inspection.frames import find_frames, newest

from .test_inspector import Brightest

av: Any = pytest.importorskip("av")


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Ten frames in a second, each of one grey that is brighter than the last."""
    path = tmp_path / "line.MP4"
    with av.open(path, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height = 64, 48
        for index in range(10):
            pixels = np.full((48, 64, 3), 20 * index, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def test_every_third_frame_with_its_time(video: Path) -> None:
    frames = list(find_frames(str(video), every=3))
    assert [frame.path for frame in frames] == [f"{video}#t={time}" for time in ("0.000", "0.300", "0.600", "0.900")]
    for frame, grey in zip(frames, (0, 60, 120, 180), strict=True):
        assert frame.pixels is not None
        assert frame.pixels.shape == (48, 64, 3)
        assert frame.pixels.mean() == pytest.approx(grey, abs=6)


def test_frames_are_inspected_as_images_are(video: Path) -> None:
    inspector = Inspector(Brightest())
    results = list(inspector([video], pictures=True))
    assert len(results) == 10
    for result in results:
        assert result.picture is not None
        alone = inspector.predict(result.picture.image)
        assert (result.verdict, result.score) == (alone.verdict, alone.score)


def test_what_is_no_video_is_an_error_row(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no video")
    rows = list(Inspector(Brightest())([tmp_path / "a.mp4", tmp_path / "b.mkv"]))
    assert [row.verdict for row in rows] == ["error", "error"]
    assert "the video cannot be read (Invalid data" in rows[0].reason
    assert "No such file" in rows[1].reason


def test_folders_with_such_names_are_folders(tmp_path: Path) -> None:
    (tmp_path / "frames.mp4").mkdir()
    (found,) = find_images([str(tmp_path / "frames.mp4")])
    assert found.missing == "the folder contains no image."
    assert is_video("rtsp://camera/1")
    assert not is_video("parts/a.png")


def test_an_address_is_read_without_telling_its_user(video: Path) -> None:
    handler = partial(SimpleHTTPRequestHandler, directory=video.parent)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        place = f"127.0.0.1:{server.server_port}/{video.name}"
        frames = list(find_frames(f"http://me:secret@{place}"))
        server.shutdown()
    # The last frame is never left out.
    assert frames[-1].path == f"http://{place}#t=0.900"
    assert not [frame for frame in frames if "secret" in frame.path]


def test_the_newest_frame_is_next_and_errors_are_kept() -> None:
    looked, all_read = Event(), Event()

    def stream() -> Iterator[Source]:
        yield Source("0")
        looked.wait(30)
        yield from (Source("1"), Source("2"), Source("3"))
        all_read.set()
        yield Source("end", "the stream broke off.")

    sources = newest(stream(), Event())
    assert next(sources).path == "0"
    looked.set()
    all_read.wait(30)
    assert [source.path for source in sources] == ["3", "end"]


SERVER = """
import gi
gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer
Gst.init(None)
server = GstRtspServer.RTSPServer(address="127.0.0.1", service="0")
camera = GstRtspServer.RTSPMediaFactory()
pictures = "videotestsrc is-live=true num-buffers=500 ! video/x-raw,format=I420,width=64,height=48,framerate=25/1"
camera.set_launch(f"( {pictures} ! jpegenc ! rtpjpegpay name=pay0 )")
server.get_mount_points().add_factory("/line", camera)
server.attach(None)
print(server.get_bound_port(), flush=True)
GLib.MainLoop().run()
"""


@pytest.fixture
def camera() -> Iterator[str]:
    """Address of a camera with 25 frames a second: GStreamer's RTSP server, which the system's Python finds."""
    command = [shutil.which("python3", path="/usr/bin") or sys.executable, "-c", SERVER]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert server.stdout is not None
    if not (port := server.stdout.readline()):
        server.wait(30)
        pytest.skip("needs GStreamer's RTSP server: python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good")
    yield f"rtsp://me:secret@127.0.0.1:{port.strip()}/line"
    server.kill()
    server.wait(30)


def test_of_a_camera_that_is_faster_than_the_model_the_newest_frame_is_next(camera: str) -> None:
    class Slow(Brightest):
        def predict(self, image: np.ndarray) -> Prediction:
            sleep(0.3)
            return super().predict(image)

    stop, rows = Event(), []
    for row in Inspector(Slow(), workers=1).inspect(find_images([camera], stop=stop), stop=stop):
        assert row.verdict == "anomalous", row.reason
        assert "secret" not in row.path
        rows.append(float(row.path.partition("#t=")[2]))
        if len(rows) == 8:
            stop.set()
    # Two at a time, so that each is that long behind the one before the last, by the camera's clock.
    assert all(late - early > 0.2 for early, late in zip(rows[1:], rows[3:], strict=False))


def test_a_stop_ends_a_stream_that_sends_nothing() -> None:
    stop, go = Event(), Event()

    def stream() -> Iterator[Source]:
        yield Source("0")
        go.wait(30)

    sources = newest(stream(), stop)
    assert next(sources).path == "0"
    Thread(target=lambda: (sleep(0.1), stop.set()), daemon=True).start()
    assert list(sources) == []
    go.set()


def test_failure_of_the_reader_reaches_the_caller() -> None:
    def stream() -> Iterator[Source]:
        yield Source("0")
        msg = "as a test wants it"
        raise RuntimeError(msg)

    with pytest.raises(RuntimeError, match="as a test wants it"):
        list(newest(stream(), Event()))
