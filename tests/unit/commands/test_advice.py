# SPDX-License-Identifier: Apache-2.0
"""What to type instead."""

from pathlib import Path

import pytest

from rd_plugin.commands.advice import advice


@pytest.mark.parametrize(
    ("subcommand", "word", "expected"),
    [
        ("train", "parts", "Write --config folder --data.root parts."),
        ("check", "parts", "Write --config folder --data.root parts."),
        ("predict", "parts", "Write --data parts."),
        ("train", "folder", "Write --config folder."),
        ("export", "onnx", "Write --export_type onnx."),
        ("test", "model.ckpt", "Write --ckpt_path model.ckpt."),
        ("train", "nothing", ""),
        ("export", "nothing", ""),
        ("predict", "nothing", ""),
    ],
)
def test_word_without_its_option(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, subcommand: str, word: str, expected: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("parts").mkdir()
    assert advice(f"Unrecognized arguments: {word}", ["-v", subcommand, word]) == expected


def test_other_messages_are_left_alone() -> None:
    assert advice("seed: Expected a int. Got value: x.", ["train"]) == ""
