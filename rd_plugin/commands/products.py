# SPDX-License-Identifier: Apache-2.0
"""``rd-plugin products``: add models to a folder of products, list them, and remove them."""

import sys
from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser, Namespace

from rd_plugin.products import Store

__all__ = ["add_arguments", "run"]


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments."""
    add: Any = parser.add_argument
    add("action", type=Literal["add", "list", "remove"], help="what to do")
    add("store", metavar="STORE", type=Path, help="folder of products")
    add("name", metavar="NAME", nargs="?", type=str | None, help="add, remove: name of the product")
    add("model", metavar="MODEL", nargs="?", type=Path | None, help="add: its model, which is copied with its record")
    add("--replace", action="store_true", help="add: replace the model of an existing product")


def run(arguments: Namespace) -> None:
    """Add, list or remove.

    Raises:
        OSError: If a model or a product does not exist, or a product exists already, or files cannot be written.
        ValueError: If an argument is missing or too many, or the name or the model cannot be used.
    """
    store = Store(arguments.store)
    given = [value for value in (arguments.name, arguments.model) if value is not None]
    needed = {"add": "NAME and MODEL", "list": "", "remove": "NAME"}[arguments.action]
    if len(given) != len(needed.replace("and", "").split()):
        asked = " and ".join(filter(None, ["STORE", needed]))
        msg = f"products {arguments.action} needs {asked}, got {len(given)} more arguments."
        raise ValueError(msg)
    if arguments.action == "add":
        product = store.add(arguments.name, arguments.model, arguments.replace)
        sys.stdout.write(f"{product.name}: {product.file} added, model {product.model}.\n")
    elif arguments.action == "remove":
        store.remove(arguments.name)
        sys.stdout.write(f"{arguments.name}: removed.\n")
    else:
        for product in map(store.get, store.names()):
            sys.stdout.write(f"{product.name}: {product.file}, model {product.model}, added {product.added}\n")
