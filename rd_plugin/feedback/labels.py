# SPDX-License-Identifier: Apache-2.0
"""Labels that people gave to images in a report."""

import csv
from dataclasses import dataclass
from pathlib import Path

__all__ = ["LABELS", "Labels", "read_labels"]

LABELS = ("good", "defect", "unclear")
_COLUMNS = ("path", "label")


@dataclass(frozen=True)
class Labels:
    """Images by label. Unclear ones are neither learned from nor counted.

    Args:
        good: Images that are good.
        defect: Images that show a defect.
    """

    good: tuple[Path, ...] = ()
    defect: tuple[Path, ...] = ()


def read_labels(path: str | Path, folder: str | Path = ".") -> Labels:
    r"""Read a file of labels: CSV with the columns ``path`` and ``label``, and others such as ``note``.

    Args:
        path: The file.
        folder: Where relative paths begin.

    Returns:
        The images; of an image with several labels the last one counts.

    Raises:
        OSError: If the file cannot be read, or an image does not exist.
        ValueError: If a column is missing or a label is unknown.

    Example:
        >>> file = getfixture("tmp_path") / "labels.csv"
        >>> _ = file.with_name("a.png").touch()
        >>> _ = file.write_text("path,label,note\na.png,good,dust\n")
        >>> [image.name for image in read_labels(file, file.parent).good]
        ['a.png']
    """
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        if missing := [name for name in _COLUMNS if name not in (rows.fieldnames or ())]:
            msg = f"labels {str(path)!r} has no column {missing[0]!r}; a report's page saves path, label and note."
            raise ValueError(msg)
        labels: dict[Path, str] = {}
        for number, row in enumerate(rows, 2):
            if row["label"] not in LABELS:
                msg = f"labels {str(path)!r}, line {number}: the label must be one of {LABELS}, got {row['label']!r}."
                raise ValueError(msg)
            image = Path(folder) / row["path"]
            if not image.is_file():
                msg = f"labels {str(path)!r}, line {number}: {str(image)!r} is not a file; give images, the folder."
                raise FileNotFoundError(msg)
            labels[image] = row["label"]
    return Labels(*(tuple(image for image, label in labels.items() if label == kind) for kind in LABELS[:2]))
