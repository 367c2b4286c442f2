# SPDX-License-Identifier: Apache-2.0
"""The nearest right name."""

from pathlib import Path

from rd_plugin.commands.suggestions import known_names, nearest, nearest_file


def test_nothing_is_suggested_where_nothing_is_near() -> None:
    assert nearest("export", ["train", "test"]) == ""


def test_files_are_suggested_with_their_folder(tmp_path: Path) -> None:
    (tmp_path / "model.ckpt").touch()
    assert nearest_file(tmp_path / "modle.ckpt") == f" Did you mean '{tmp_path / 'model.ckpt'}'?"
    assert nearest_file(tmp_path / "none" / "model.ckpt") == ""


def test_known_names_are_of_classes_and_of_their_arguments() -> None:
    names = known_names(None, ["rd_plugin.ReverseDistillation", "no.such.Class"])
    assert {"Padim", "rd_plugin.MVTec", "quickstart", "openvino", "rd_plugin.ReverseDistillation"} <= names
    # What a model hands on to its base class is its own, too.
    assert {"backbone", "bottleneck"} <= names
    assert "no.such.Class" not in names
