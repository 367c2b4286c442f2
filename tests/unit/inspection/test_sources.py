# SPDX-License-Identifier: Apache-2.0
"""Which files paths lead to."""

import io
from pathlib import Path

import pytest

from rd_plugin.inspection import Source, common_folder, find_images

pytestmark = pytest.mark.usefixtures("in_tmp_path")


def _touch(*paths: str) -> None:
    for path in map(Path, paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_files_folders_and_patterns_in_order_each_once() -> None:
    _touch("parts/b.png", "parts/deep/er/a.JPG", "parts/text.txt.png", "c[1].png", "parts/note.txt")
    Path("empty").mkdir()
    found = list(find_images(["c[1].png", "parts", "parts/b.png", "part?/**/*.JPG", "empty", "none/*", "none.png"]))
    assert found == [
        Source("c[1].png"),
        Source("parts/b.png"),
        Source("parts/deep/er/a.JPG"),
        Source("parts/text.txt.png"),
        Source("empty", "the folder contains no image."),
        Source("none/*", "no file fits the pattern."),
        Source("none.png"),
    ]


def test_masks_of_a_data_set_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", logger="rd_plugin")
    _touch("parts/good/a.png", "parts/defect/b.png", "parts/mask/b.png", "parts/mask/deep/c.png")
    _touch("mvtec/tile/test/good/a.png", "mvtec/tile/ground_truth/crack/a_mask.png")
    # Folders of these names that stand by themselves.
    _touch("shop/mask/a.png", "shop/mask/good/b.png", "mask/a.png")
    found = [source.path for source in find_images(["parts", "mvtec", "shop"])]
    assert found == [
        "parts/defect/b.png",
        "parts/good/a.png",
        "mvtec/tile/test/good/a.png",
        "shop/mask/a.png",
        "shop/mask/good/b.png",
    ]
    assert caplog.messages == [
        f"{folder}: {count} masks are left out; name their folder to inspect them."
        for folder, count in (("parts", 2), ("mvtec", 1))
    ]
    assert list(find_images(["parts/mask"])) == [Source("parts/mask/b.png"), Source("parts/mask/deep/c.png")]


def test_a_list_is_read_while_it_is_written() -> None:
    _touch("a.png", "parts/b c.png")
    lines = iter(["a.png\r\n", "\n", "parts\n", "a.png\n", "last.png"])
    found = find_images(["-"], lines)
    assert next(found) == Source("a.png")
    assert next(lines) == "\n"
    assert list(found) == [Source("parts/b c.png"), Source("last.png")]
    assert list(find_images(["x.png"], io.StringIO("unread.png"))) == [Source("x.png")]


@pytest.mark.parametrize(
    ("paths", "folder"),
    [
        (["a/cam1"], "a/cam1"),
        (["a/cam1", "b/cam1"], ""),
        (["./a/cam1/img.jpg"], "a/cam1"),
        (["a/*/img.jpg", "a/cam1/img.jpg"], "a"),
        (["-"], ""),
        (["../x.png", "a/cam1"], ".."),
    ],
)
def test_common_folder(paths: list[str], folder: str, tmp_path: Path) -> None:
    _touch("a/cam1/img.jpg", "b/cam1/img.jpg")
    assert common_folder(paths) == (tmp_path / folder).resolve()
