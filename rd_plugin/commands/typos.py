# SPDX-License-Identifier: Apache-2.0
"""All names of arguments that do not exist, at once: a parser stops at the first."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from .names import BASES, arguments_of, class_named, nearest

__all__ = ["misspelt"]

# What a section with a class may hold beside the class's arguments.
_OF_CLASSES = {"class_path", "init_args", "dict_kwargs", "help"}
# Options that have no value, and so no default.
_OF_ALL = {"c", "h", "help", "help_all", "print_config", "v"}


def misspelt(words: Sequence[str], parser: ArgumentParser) -> list[str]:
    """Find arguments that do not exist, among what is typed and in configurations.

    Args:
        words: What follows the subcommand.
        parser: The subcommand's parser.

    Returns:
        A sentence about each, with the nearest right name.
    """
    defaults = parser.get_defaults()
    leaves, all_keys = set(defaults.keys()), set(defaults.keys(branches=True)) | set(BASES)
    keys: list[str] = []
    kinds: dict[str, type | None] = {}
    for name, value in _options(words):
        if name in {"config", "c"}:
            for key, found in _entries(_read(value), all_keys - leaves):
                keys.append(key)
                kinds |= _kind(key, found)
        else:
            keys.append(name)
            kinds |= _kind(name, value)
    said = []
    for key in dict.fromkeys(keys):
        section, _, rest = key.partition(".")
        if section in BASES and rest:
            kind = kinds.get(section)
            known = [f"{section}.{argument}" for argument in arguments_of(kind)]
            wrong = kind is not None and rest.partition(".")[0] not in {*_OF_CLASSES, *arguments_of(kind)}
        else:
            known = sorted(leaves)
            parts = key.split(".")
            beginnings = {".".join(parts[:length]) for length in range(1, len(parts) + 1)}
            wrong = not beginnings & (leaves | _OF_ALL) and key not in all_keys
        if wrong:
            said.append(f"{key} does not exist.{nearest(key, known)}")
    return said


def _options(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Names of options, without what makes them such, and their values."""
    for index, word in enumerate(words):
        if word.startswith("-") and word.strip("-") and not word[1:2].isdigit():
            option, equals, value = word.partition("=")
            following = words[index + 1] if index + 1 < len(words) else ""
            yield option.lstrip("-").rstrip("+"), value if equals else following


def _read(path: str) -> Mapping[str, Any]:
    """A configuration; empty if it cannot be read, which the parser says."""
    try:
        content = yaml.safe_load(Path(path).read_text())
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return content if isinstance(content, Mapping) else {}


def _entries(content: Mapping[str, Any], branches: set[str], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Keys of a configuration with dots, as on the command line, and their values."""
    for name, value in content.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and key in BASES:
            yield key, value.get("class_path")
            arguments = value.get("init_args")
            for inner, given in (arguments if isinstance(arguments, Mapping) else {}).items():
                yield f"{key}.{inner}", given
        elif isinstance(value, Mapping) and key in branches:
            yield from _entries(value, branches, f"{key}.")
        else:
            yield key, value


def _kind(key: str, value: object) -> dict[str, type | None]:
    """The class of a section, if this names it."""
    return {key: class_named(value, BASES[key])} if key in BASES else {}
