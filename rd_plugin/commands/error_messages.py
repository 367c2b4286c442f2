# SPDX-License-Identifier: Apache-2.0
"""One line about wrong input: jsonargparse's own message, shortened, with the nearest valid name."""

import re
from argparse import ArgumentError
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.error import URLError

from jsonargparse import ArgumentParser

from .advice import advice
from .argv import options
from .suggestions import known_names, nearest, nearest_file

__all__ = ["WrongInput", "error_message"]

# jsonargparse's remarks about itself, and about alternatives that nobody meant.
_NOISE = re.compile(
    r"(Does not validate|Subtypes:|Errors:|Given value|Expected a path but|Expected a <class 'NoneType'>)"
)
# What jsonargparse puts around a name.
_WRAPPING = re.compile(r"""<class '(.+?)'>|typing\.(?=Literal)|Parser key "([^"]+)"(?=:)""")
_NAME = re.compile(r"[\w./-]*\w")


class WrongInput(Exception):  # noqa: N818  # not an error of the program
    """A given argument, file or folder is wrong; the message names it."""


def error_message(error: Exception, words: Sequence[str], parsers: Mapping[str, ArgumentParser]) -> str:
    """Return one line about wrong input: the error's own text, without what jsonargparse has put around it."""
    if isinstance(error, URLError):
        return (
            f"nothing could be downloaded ({error.reason}): without a network, data must be in data.root, and a "
            "teacher's weights must be given as model.pre_trained."
        )
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
    message = str(error)
    # The package's own errors already say what is accepted.
    if not isinstance(error, ArgumentError) and "is not a valid" not in message:
        return _shortened(message)
    classes = re.findall(r"class_path '([\w.]+)'", message)
    if {"anomalib.data.AnomalibDataModule", "anomalib.models.AnomalibModule"} & set(classes):
        return (
            f"{_shortened(message)} Give the class first: --data NAME, --model NAME; or write --config folder, which "
            "has both."
        )
    parser = next((parsers[word] for word in words if word in parsers), None)
    known = {*known_names(parser, classes), *parsers}
    choices = {*_NAME.findall(message.partition("(choose from")[2]), *re.findall(r"'([\w.]+)'", message)}
    message, given = _shortened(message), _given(words)
    names = dict.fromkeys(name.lstrip("-") for name in _NAME.findall(message))
    wrong = [name for name in names if _last_part(name) in given and name not in known]
    files = [nearest_file(Path(name)) for name in wrong if "does not exist" in message]
    hints = [nearest(name, {*known, *choices} - {name}) for name in (Path(name).name for name in wrong)]
    if told := advice(message, words):
        return f"{message.rstrip('.')}. {told}"
    return message + next(filter(None, [*files, *hints]), "")


def _shortened(message: str) -> str:
    """The message without what jsonargparse has put around it."""
    if "Given value type:" not in message and not message.startswith(('Parser key "', "Problems parsing")):
        return message
    lines = [line.strip().removeprefix("- ") for line in message.splitlines()]
    kept = [line for line in lines if line and not _NOISE.match(line)]
    given = [line for line in lines if re.match(r"Given value: (?!NestedArg\(|Namespace\()", line)][:1]
    kept += [line for line in given if not {*_NAME.findall(line)[2:]} & {*_NAME.findall(" ".join(kept))}]
    kept = [_WRAPPING.sub(lambda found: found[1] or found[2] or "", line).rstrip(".") for line in kept]
    return " ".join(line if line.endswith(":") else f"{line}." for line in kept)


def _given(words: Sequence[str]) -> set[str]:
    """All names that were typed, or are in a configuration."""
    paths = [Path(value) for name, value, _ in options(words) if name in {"-c", "--config"} and value]
    texts = [*words, *(path.read_text(errors="replace") for path in paths if path.is_file())]
    return {_last_part(name) for text in texts for name in _NAME.findall(text)}


def _last_part(name: str) -> str:
    """The part after the last dot or slash, by which an error names an option of a class or a file."""
    return re.split("[./]", name)[-1]
