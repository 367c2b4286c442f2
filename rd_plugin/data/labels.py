# SPDX-License-Identifier: Apache-2.0
"""Labels that people gave to images in a report, and which side of the split an image is on."""

import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["LABELS", "Labels", "content_digest", "is_held_out", "read_labels"]

LABELS = ("good", "defect", "unclear")
_COLUMNS = ("path", "label")
# One of this many new images is held out.
_HOLD_OUT = 3


@dataclass(frozen=True)
class Labels:
    """Images by label.

    Args:
        good: Images that are good.
        defect: Images that show a defect; no model learns from them.
        unclear: Images whose label is unknown; they are not used.
    """

    good: tuple[Path, ...] = ()
    defect: tuple[Path, ...] = ()
    unclear: tuple[Path, ...] = ()

    def __iter__(self) -> Iterator[tuple[str, tuple[Path, ...]]]:
        """Yield each label with its images."""
        return zip(LABELS, (self.good, self.defect, self.unclear), strict=True)


def read_labels(path: str | Path, folder: str | Path = ".") -> Labels:
    r"""Read a file of labels: CSV with the columns ``path`` and ``label``, and others such as ``note``.

    Args:
        path: The file.
        folder: Folder that relative paths start from.

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
                msg = (
                    f"labels {str(path)!r}, line {number}: {str(image)!r} is not a file; relative paths start from "
                    f"{str(folder)!r}."
                )
                raise FileNotFoundError(msg)
            labels[image] = row["label"]
    return Labels(*(tuple(image for image, label in labels.items() if label == kind) for kind in LABELS))


def content_digest(path: str | Path) -> str:
    """Return the hash of a file, which :class:`~rd_plugin.data.check.FileFacts` has, too."""
    return hashlib.blake2b(Path(path).read_bytes(), digest_size=16).hexdigest()


def is_held_out(digest: str) -> bool:
    """Return whether a new good image is held out of updates and later trainings: one in three, by its content.

    Example:
        >>> [digest for digest in ("00000003", "00000004", "00000005") if is_held_out(digest)]
        ['00000003']
    """
    return int(digest[:8], 16) % _HOLD_OUT == 0
