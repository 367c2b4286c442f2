# SPDX-License-Identifier: Apache-2.0
"""Which of several parts an image shows: the folders in its path name it."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from unicodedata import normalize

__all__ = ["check_names", "chosen_part", "group_by_part", "part_of"]


def part_of(path: str | Path, names: Collection[str]) -> str | None:
    """Return the part whose name a folder in a path has, the innermost if there are several.

    Example:
        >>> part_of("line 2/cap/good/1.png", ["cap", "screw"])
        'cap'
    """
    known = {normalize("NFC", name): name for name in names}
    folders = (normalize("NFC", parent.name) for parent in Path(path).absolute().parents)
    return next((known[folder] for folder in folders if folder in known), None)


def chosen_part(part: str | None, names: Collection[str]) -> str:
    """Return a part that was given, if there is one of this name.

    Args:
        part: What was given; ``None`` if nothing was.
        names: Names of the model's parts.

    Raises:
        ValueError: If it is none of them; the message lists them.
    """
    if part in names:
        return str(part)
    if not names:
        msg = f"part {part!r}: the model is not for several parts; leave it out."
    elif part is None:
        msg = f"the model is for several parts: give part, one of {', '.join(names)}."
    else:
        msg = f"part must be one of {', '.join(names)}, got {part!r}."
    raise ValueError(msg)


def group_by_part(paths: Iterable[str | Path], names: Sequence[str]) -> dict[str, list[int]]:
    """Return the indices of the images of each part that occurs.

    Returns:
        Indices by part, in the order of ``names``.

    Raises:
        ValueError: If no folder in a path is named after a part.
    """
    groups: dict[str, list[int]] = {name: [] for name in names}
    for index, path in enumerate(paths):
        name = part_of(path, names)
        if name is None:
            msg = f"no folder in the path {str(path)!r} is named after a part ({', '.join(names)})."
            raise ValueError(msg)
        groups[name].append(index)
    return {name: indices for name, indices in groups.items() if indices}


def check_names(paths: Iterable[str | Path], parts: Iterable[str]) -> None:
    """Check that paths name the part that an image shows.

    Raises:
        ValueError: If :func:`part_of` would find another one.
    """
    paths, parts = list(paths), list(parts)
    names = sorted(set(parts))
    for path, part in zip(paths, parts, strict=True):
        if (found := part_of(path, names)) != part:
            msg = f"{str(path)!r} is an image of part {part!r}, but has a folder named after part {found!r}; rename it."
            raise ValueError(msg)
