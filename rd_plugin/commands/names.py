# SPDX-License-Identifier: Apache-2.0
"""Names that models, data modules and their arguments can be given by, and which of them is near another."""

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path
from pydoc import locate

from anomalib.data import AnomalibDataModule
from anomalib.models.components import AnomalibModule
from jsonargparse import ArgumentParser

import rd_plugin

__all__ = ["BASES", "arguments_of", "class_named", "class_names", "nearest", "nearest_file", "own_names"]

# Sections of a configuration that name a class, and what it must derive from.
BASES: dict[str, type] = {"model": AnomalibModule, "data": AnomalibDataModule}


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a question with the name that was probably meant, or nothing if none is near.

    Args:
        name: The wrong one.
        known: The right ones.

    Example:
        >>> nearest("trian", ["train", "test"])
        " Did you mean 'train'?"
    """
    found = get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean {found[0]!r}?" if found else ""


def nearest_file(path: Path) -> str:
    """Return a question with the file or folder that was probably meant, or nothing if none is near.

    Args:
        path: The wrong one.
    """
    found = get_close_matches(path.name, [other.name for other in path.parent.glob("*")], n=1, cutoff=0.6)
    return f" Did you mean {str(path.parent / found[0])!r}?" if found else ""


def class_names(base: type) -> list[str]:
    """Return names that a class can be given by: the package's by the full one, which is never ambiguous.

    Args:
        base: What the class must derive from.
    """
    names = own_names(base)
    own = {name.rpartition(".")[2] for name in names}
    return [*names, *(kind.__name__ for kind in _subclasses(base) if kind.__name__ not in own)]


def own_names(base: type) -> list[str]:
    """Return the names of the package's models or data modules.

    Args:
        base: What they derive from.
    """
    public = {name: getattr(rd_plugin, name) for name in rd_plugin.__all__}
    return [f"rd_plugin.{name}" for name, kind in public.items() if isinstance(kind, type) and issubclass(kind, base)]


def class_named(name: object, base: type) -> type | None:
    """Return the class that is meant by a name; ``None`` if there is none, or more than one.

    Args:
        name: With its module, or without.
        base: What the class must derive from.
    """
    found = locate(str(name)) if "." in str(name) else None
    if found is None:
        fits = [kind for kind in _subclasses(base) if kind.__name__ == name]
        found = fits[0] if len(fits) == 1 else None
    return found if isinstance(found, type) and issubclass(found, base) else None


def arguments_of(kind: object) -> list[str]:
    """Return the names of a class's arguments, those that it hands on included.

    Args:
        kind: The class; of anything else there are none.
    """
    if not isinstance(kind, type):
        return []
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(kind, fail_untyped=False)
    return list(parser.get_defaults().keys(branches=True))


def _subclasses(base: type) -> list[type]:
    found: list[type] = []
    todo: list[type] = list(base.__subclasses__())
    while todo:
        kind = todo.pop()
        todo += kind.__subclasses__()
        found.append(kind)
    return found
