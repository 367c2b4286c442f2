# SPDX-License-Identifier: Apache-2.0
"""Short words for refused files."""

import os
import re
from pathlib import Path

import pytest
import torch

from rd_plugin.storage.safe_reading import check_checkpoint, read_plain, short_refusal


class Code:
    """Calls a function when it is unpickled carelessly."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        # torch blocks some modules, and does not know others.
        (os.mkdir, (), "posix.mkdir"),
        (open, ("x",), "io.open"),
    ],
)
def test_what_was_refused_is_named(tmp_path: Path, function: object, arguments: tuple, name: str) -> None:
    file = tmp_path / "model.ckpt"
    torch.save({"state_dict": {}, "code": Code(function, str(tmp_path / "marker"), *arguments)}, file)
    message = f"'{file}' was refused: it holds {name}, and what could run code is never loaded."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"), short_refusal(file):
        torch.load(file, weights_only=True)
    assert not (tmp_path / "marker").exists()


def test_other_files_and_errors(tmp_path: Path) -> None:
    file = tmp_path / "model.ckpt"
    file.write_text("not weights")
    with pytest.raises(ValueError, match=r"it is not a torch\.save file of plain data"), short_refusal(file):
        torch.load(file, weights_only=True)
    with pytest.raises(FileNotFoundError), short_refusal(file):
        torch.load(tmp_path / "nowhere.ckpt", weights_only=True)


@pytest.mark.parametrize("kept", [0, 1, 100, 0.5, 0.99])
def test_file_that_is_cut_off(tmp_path: Path, kept: float) -> None:
    file = tmp_path / "model.ckpt"
    torch.save({"state_dict": {"weight": torch.zeros(1000)}}, file)
    content = file.read_bytes()
    file.write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(ValueError, match=rf"^'{re.escape(str(file))}' was refused: [^\n]*\.$"):
        read_plain(file)
    if kept != 1:
        with pytest.raises(ValueError, match=r"it is empty or cut off\.$"):
            read_plain(file)


@pytest.mark.parametrize("content", [{}, {"state_dict": {}}, [1], None])
def test_what_is_no_checkpoint(content: object) -> None:
    with pytest.raises(
        ValueError, match=r"^'model.ckpt' was refused: it is not a Lightning checkpoint, since it holds no"
    ):
        check_checkpoint("model.ckpt", content)
