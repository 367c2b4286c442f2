# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import pytest

from rd_plugin.data.check import inspect_files
from rd_plugin.data.labels import Labels, content_digest, read_labels


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in "abc":
        (tmp_path / f"{name}.png").touch()
    return tmp_path


def test_last_label_of_an_image_counts(images: Path) -> None:
    file = images / "labels.csv"
    file.write_text('path,label,note\na.png,defect,\nb.png,defect,"a, ""scratch"""\nc.png,unclear,\na.png,good,\n')
    assert read_labels(file, images) == Labels((images / "a.png",), (images / "b.png",), (images / "c.png",))


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        ("path,verdict\na.png,normal\n", ValueError, "has no column 'label'"),
        ("path,label\na.png,ok\n", ValueError, "line 2: the label must be one of .*, got 'ok'"),
        ("path,label\nz.png,good\n", FileNotFoundError, r"line 2: '.*z\.png' is not a file"),
    ],
)
def test_what_is_wrong(images: Path, content: str, error: type[Exception], message: str) -> None:
    (images / "labels.csv").write_text(content)
    with pytest.raises(error, match=message):
        read_labels(images / "labels.csv", images)


def test_digest_is_that_of_the_data_check(images: Path) -> None:
    (images / "a.png").write_bytes(b"some bytes")
    assert inspect_files([str(images / "a.png")])[str(images / "a.png")].digest == content_digest(images / "a.png")
