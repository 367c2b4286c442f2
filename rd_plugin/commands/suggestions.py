# SPDX-License-Identifier: Apache-2.0
"""The valid name closest to a wrong one."""

import sys
from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from pydoc import locate

from jsonargparse import ArgumentParser

import rd_plugin
from rd_plugin.configurations import configuration_names

__all__ = ["known_names", "nearest", "nearest_file"]


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a question with the name that was probably meant, or an empty text if none is similar.

    Example:
        >>> nearest("trian", ["train", "test"])
        " Did you mean 'train'?"
    """
    found = get_close_matches(name, sorted(known), n=1, cutoff=0.7)
    return f" Did you mean {found[0]!r}?" if found else ""


def nearest_file(path: Path) -> str:
    """Return a question with the file or folder that was probably meant, or an empty text if none is similar."""
    found = get_close_matches(path.name, [other.name for other in path.parent.glob("*")], n=1, cutoff=0.7)
    return f" Did you mean {str(path.parent / found[0])!r}?" if found else ""


def known_names(parser: ArgumentParser | None, classes: Iterable[str]) -> set[str]:
    """Return all names that can be given to a subcommand, with those of the arguments of ``classes``."""
    names = {*configuration_names(), *rd_plugin.__all__, *(f"rd_plugin.{name}" for name in rd_plugin.__all__)}
    # A subcommand that takes them has imported it; a station does not have it.
    if "anomalib" in sys.modules:
        names |= _of_anomalib()
    names |= set(parser.get_defaults().keys()) if parser else set()
    for path in classes:
        if isinstance(kind := locate(path), type):
            arguments = ArgumentParser(exit_on_error=False)
            arguments.add_class_arguments(kind, fail_untyped=False)
            names |= {path, *arguments.get_defaults().keys(branches=True)}
    return names


def _of_anomalib() -> set[str]:
    """Names of anomalib's exports, and of all models and data modules."""
    from anomalib.data import AnomalibDataModule
    from anomalib.deploy import CompressionType, ExportType
    from anomalib.models.components import AnomalibModule

    exports = {kind.value for choices in (ExportType, CompressionType) for kind in choices}
    return exports | {kind.__name__ for base in (AnomalibModule, AnomalibDataModule) for kind in _subclasses(base)}


def _subclasses(base: type) -> set[type]:
    """All subclasses of a class, at any depth."""
    below: set[type] = set(base.__subclasses__())
    return below.union(*map(_subclasses, below))
