# SPDX-License-Identifier: Apache-2.0
"""Short words for refused files."""

import os
import re
from pathlib import Path

import pytest
import torch

from rd_plugin.storage.safe_reading import short_refusal


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
    message = f"checkpoint '{file}' was refused: it holds {name}, and what could run code is never loaded."
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"), short_refusal(file):
        torch.load(file, weights_only=True)
    assert not (tmp_path / "marker").exists()


def test_other_files_and_errors(tmp_path: Path) -> None:
    file = tmp_path / "model.ckpt"
    file.write_text("not weights")
    with pytest.raises(ValueError, match=r"it is no torch\.save file of plain data"), short_refusal(file):
        torch.load(file, weights_only=True)
    with pytest.raises(KeyError, match="state_dict"), short_refusal(file):
        _ = {}["state_dict"]
