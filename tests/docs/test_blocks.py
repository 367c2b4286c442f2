# SPDX-License-Identifier: Apache-2.0
"""How blocks are read from a page and compared with what they print."""

from pathlib import Path

import pytest

from .blocks import Block, commands, differs, read_blocks

PAGE = """\
# Title

```bash run=small
pip install x
train a \\
    b   # why
```

```text output
ends in 0.95
```

```text
a tree
```

```{toctree}
python
```

```python
print(1)
```
"""


def test_blocks_of_a_page(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(PAGE)
    assert read_blocks(tmp_path / "page.md") == [
        Block("bash", "pip install x\ntrain a \\\n    b   # why\n", "small", "ends in 0.95\n", 3),
        Block("python", "print(1)\n", "", "", 21),
    ]


def test_commands_of_a_block() -> None:
    assert commands('# first\npip install x\ntrain a \\\n    b   # why\n\npip install -e ".[test]" && pytest\n') == [
        "train a b",
    ]


@pytest.mark.parametrize(
    ("said", "printed"),
    [
        ("AUROC 0.95", "│ AUROC   0.9437 │"),
        ("found 81.2 % (76.4 to 85.3)", "found 80.5 % (75.7 to 84.7)"),
        ("cell: ..., score ...\n", "cell: anomalous, score 1.000"),
        ("(1, 1)\n(2,)", "first\n(1, 1)\n  (2,)\nlast"),
    ],
)
def test_what_agrees(said: str, printed: str) -> None:
    assert differs(said, printed) is None


@pytest.mark.parametrize(
    ("said", "printed", "how"),
    [
        ("AUROC 0.95", "AUROC 0.91", "0.91 in place of 0.95"),
        ("94: 5% expected", "93: 5% expected", "not printed: 94: 5% expected"),
        ("cell: anomalous", "", "not printed: cell: anomalous"),
    ],
)
def test_what_differs(said: str, printed: str, how: str) -> None:
    assert differs(said, printed) == how
