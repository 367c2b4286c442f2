# SPDX-License-Identifier: Apache-2.0
"""The package's configurations, found by name from any working directory."""

from pathlib import Path

__all__ = ["configuration", "configuration_names"]

# In a built package; in a checkout they are next to it.
_FOLDERS = (Path(__file__).parent / "configs", Path(__file__).parents[1] / "configs")


def _files() -> dict[str, Path]:
    """The configurations by name."""
    folder = next(folder for folder in _FOLDERS if folder.is_dir())
    return {file.stem: file for file in sorted(folder.glob("*.yaml"))}


def configuration_names() -> list[str]:
    """Return the names of all configurations.

    Example:
        >>> "quickstart" in configuration_names()
        True
    """
    return list(_files())


def configuration(name: str | Path) -> Path:
    """Find a configuration for ``anomalib train --config``.

    Args:
        name: Name of one of the package's configurations, such as ``"quickstart"``, or path of a file, which takes
            precedence.

    Returns:
        Path of the file.

    Raises:
        FileNotFoundError: If there is neither a file nor a configuration of that name; the message lists the names.

    Example:
        >>> configuration("quickstart").name
        'quickstart.yaml'
    """
    if Path(name).is_file():
        return Path(name)
    files = _files()
    if str(name) not in files:
        msg = f"config {str(name)!r} is neither a file nor one of the package's: {', '.join(files)}."
        raise FileNotFoundError(msg)
    return files[str(name)]
