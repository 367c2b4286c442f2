# SPDX-License-Identifier: Apache-2.0
"""One sentence about wrong input, with the nearest right name, from what jsonargparse says in many lines."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from pydoc import locate
from urllib.error import URLError

import anomalib.deploy
from jsonargparse import ArgumentParser

from rd_plugin.configurations import configuration_names

from .names import BASES, arguments_of, class_names, nearest, nearest_file, own_names

__all__ = ["sentence"]

# What jsonargparse says of the alternatives that nobody meant.
_NOISE = ("Expected a <class 'NoneType'>", "Expected a path but")


@dataclass(frozen=True)
class _Said:
    """What jsonargparse said.

    Args:
        message: All of it.
        key: The argument that it is about, such as ``"model.deviation"``; empty if it is not about one.
        core: What is in the midst of its lists of alternatives.
        parsers: The subcommands' parsers by name.
        subcommand: The subcommand that was asked for, if it is known.
    """

    message: str
    key: str
    core: str
    parsers: Mapping[str, ArgumentParser]
    subcommand: str | None


def sentence(error: Exception, parsers: Mapping[str, ArgumentParser], subcommand: str | None) -> str:
    """Say in one sentence what was wrong with the input.

    Args:
        error: What was raised for it.
        parsers: The subcommands' parsers by name.
        subcommand: The subcommand that was asked for, if it is known.

    Returns:
        The sentence. An error's own text stays as it is, but for what jsonargparse has put around it.
    """
    if isinstance(error, URLError):
        return (
            f"nothing could be downloaded ({error.reason}): without a network, data must be at data.root, and a "
            "teacher's weights be given as model.pre_trained."
        )
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
    message = str(error)
    key = ".".join(re.findall(r'Parser key "([^"]+)"', message))
    said = _Said(message, key, _core(message), parsers, subcommand)
    told = (tell(said) for tell in (_choice, _missing, _class, _option, _file, _value))
    plain = re.sub(r"<class '([\w.]+)'>", r"\1", said.core)
    return next(filter(None, told), f"{key}: {plain}" if key else plain)


def _core(message: str) -> str:
    """What is in the midst of jsonargparse's lists of alternatives, or the message if it has none."""
    if "Given value type:" not in message and not message.startswith(('Parser key "', "Problems parsing")):
        return message
    lines = [line.strip().removeprefix("- ") for line in message.partition("Given value type:")[0].splitlines()]
    start = lines.index("Errors:") + 1 if "Errors:" in lines else 0
    lines = [re.sub(r'^Parser key "[^"]+":\s*', "", line) for line in lines[start:]]
    told = [line for line in lines if line and not line.startswith(_NOISE)]
    if message.startswith("Problems parsing"):
        return " ".join(told)
    # Types that were all refused, such as bool and int, are told together.
    if told and all(re.fullmatch(r"Expected a <class '[\w.]+'>", line) for line in told):
        kinds = " or ".join(line.removeprefix("Expected a ") for line in told)
        return f"Expected a {kinds}. Got value: {message.rpartition('Given value: ')[2]}"
    return told[-1] if told else " ".join(message.split())


def _choice(said: _Said) -> str | None:
    """A word that is not among those that are offered."""
    found = re.search(r"argument (\S+): invalid choice: '(.*)' \(choose from (.*)\)", said.message)
    if found is None:
        return None
    choices = re.findall(r"'([^']*)'", found[3]) or found[3].split(", ")
    return f"{found[1]} {found[2]!r} is unknown.{nearest(found[2], choices)} There are {', '.join(choices)}."


def _missing(said: _Said) -> str | None:
    """An argument that is required."""
    if found := re.match(r'expected "(\w+)" to be one of .* was not provided', said.message):
        return f"a {found[1]} is missing." + (f" There are {', '.join(said.parsers)}." if not said.subcommand else "")
    if found := re.match(r"Option '(?:\w+\.)*(\w+)' is required", said.message):
        return f"{found[1]} is missing."
    return None


def _class(said: _Said) -> str | None:
    """A model or a data module that does not exist, or two that do."""
    if found := re.search(r"Multiple subclasses with name (\w+)\. .*: (.*)\.$", said.core):
        return f"{said.key} {found[1]!r} has two meanings; give the full name: {' or '.join(found[2].split(', '))}."
    found = re.match(r"Expected a dot import path string: (\S+)$", said.core) or re.search(
        r"class_path '([^']+)':\s+(?:module .* has no attribute|No module named)", said.message
    )
    if found is None or said.key not in BASES:
        return None
    base = BASES[said.key]
    known = {name.rpartition(".")[2]: name for name in class_names(base)}
    meant = get_close_matches(found[1].rpartition(".")[2], list(known), n=1, cutoff=0.6)
    hint = f"Did you mean {known[meant[0]]!r}?" if meant else f"The package's own are {', '.join(own_names(base))}."
    return f"{said.key} {found[1]!r} is unknown. {hint}"


def _option(said: _Said) -> str | None:
    """A key that does not exist."""
    if found := re.search(r"Option '([^']+)' is not accepted", said.core):
        path = re.findall(r"class_path '([^']+)'", said.message)
        given = locate(path[-1]) if path else None
        if given in BASES.values():
            return f"{said.key}.{found[1]} needs the {said.key}'s class before it: --{said.key} NAME."
        name = f"{said.key}.{found[1]}"
        return f"{name} does not exist.{nearest(name, [f'{said.key}.{known}' for known in arguments_of(given)])}"
    found = re.search(r"does not accept option '([^']+)'", said.message) or re.search(
        r"[Uu]nrecognized arguments: (?:--)?([^\s=]+)", said.message
    )
    if found is None:
        return None
    parser = said.parsers.get(said.subcommand or "")
    return f"{found[1]} does not exist.{nearest(found[1], parser.get_defaults().keys() if parser else ())}"


def _file(said: _Said) -> str | None:
    """A file that is not there."""
    found = re.search(r"File does not exist: '(.*)'$", said.core)
    if found is None:
        return None
    path = Path(found[1])
    if near := nearest_file(path):
        return f"{said.key} {found[1]!r} does not exist.{near}"
    known = configuration_names()
    own = f" The package's own are {', '.join(known)}." if said.key == "config" else ""
    return f"{said.key} {found[1]!r} does not exist.{nearest(path.stem, known)}{own}"


def _value(said: _Said) -> str | None:
    """A value of another type, or not among those that are offered."""
    if found := re.fullmatch(r"'(.*)' is not a valid (ExportType|CompressionType)", said.message):
        known = [member.value for member in getattr(anomalib.deploy, found[2])]
        return f"{found[1]!r} is not a valid {found[2]}.{nearest(found[1], known)} There are {', '.join(known)}."
    expected, got, value = said.core.partition(" Got value: ")
    if not got:
        return None
    values = re.findall(r"'([^']*)'", expected) if "Literal" in expected else []
    kind = re.sub(r"<class '([\w.]+)'>", r"\1", expected.removeprefix("Expected a ").rstrip("."))
    allowed = " or ".join([", ".join(map(repr, values[:-1])), repr(values[-1])]) if values[1:] else kind
    return f"{said.key} must be {allowed}, got {value!r}.{nearest(value, values)}"
