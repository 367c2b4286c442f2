# SPDX-License-Identifier: Apache-2.0
"""A folder of models by the names of their products.

``STORE/NAME/product.json`` names the folder with the model's files, next to it. That file is written last and replaced
atomically, so that a product is complete or absent, and a reader gets the old model or the new one.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from secrets import token_hex
from unicodedata import normalize

from rd_plugin.data.part_names import part_of
from rd_plugin.inspection import load_inferencer, model_files
from rd_plugin.storage import atomic_file

__all__ = ["Product", "Store", "checked_name"]

_ENTRY = "product.json"
_MAX_LENGTH = 60
# Neither a separator of paths, nor a dot or a minus in front.
_NAME = re.compile(rf"\w[\w.-]{{0,{_MAX_LENGTH - 1}}}")


@dataclass(frozen=True)
class Product:
    """A product and its model.

    Args:
        name: Name of the product.
        folder: Name of the folder with the model's files, in the product's own; another one for each model.
        file: Name of the model's file in it.
        model: Name of the model, by its record or its file.
        sha256: Hash of the model's files.
        added: When the model was added, ISO 8601 in UTC.
    """

    name: str
    folder: str
    file: str
    model: str
    sha256: str
    added: str


class Store:
    """A folder of models by the names of their products.

    Args:
        folder: The folder; it is made with the first product.

    Example:
        >>> Store("products").names()
        []
        >>> Store("products").get("../secret")
        Traceback (most recent call last):
            ...
        ValueError: product must be a name of up to 60 letters, digits, '.', '_' and '-', got '../secret'.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def add(self, name: str, model: str | Path, replace: bool = False) -> Product:
        """Copy a model with its record into the store.

        Args:
            name: Name of the product: up to 60 letters, digits, ``.``, ``_`` and ``-``.
            model: An OpenVINO model (``.xml``), ONNX model (``.onnx``), torch export (``.pt``) or checkpoint
                (``.ckpt``).
            replace: Whether a product of this name may be given another model.

        Raises:
            FileExistsError: If the product exists, unless ``replace``.
            OSError: If the model does not exist, or the store cannot be written to.
            ValueError: If the name or the model cannot be used.
        """
        name, model = checked_name(name), Path(model)
        before = self.get(name) if name in self.names() else None
        if before is not None and not replace:
            msg = (
                f"product {name!r} is in {str(self.folder)!r} already; give --replace for another model, or remove it."
            )
            raise FileExistsError(msg)
        if not model.is_file():
            msg = f"model {str(model)!r} is not a file."
            raise FileNotFoundError(msg)
        place = self.folder / name
        place.mkdir(parents=True, exist_ok=True)
        partial = place / f".{token_hex(4)}.partial"
        try:
            partial.mkdir()
            for file in model_files(model):
                shutil.copyfile(file, partial / file.name)
            # A model that `inspect` refuses is refused here, where its name is typed.
            record_id = load_inferencer(partial / model.name).record_id
            digest = _hash(partial)
            # Never the name of another copy, which may be in use.
            folder = f"{digest[:12]}-{token_hex(4)}"
            partial.rename(place / folder)
            added = datetime.now(timezone.utc).isoformat(timespec="seconds")
            product = Product(name, folder, model.name, record_id, digest, added)
            content = {key: value for key, value in asdict(product).items() if key != "name"}
            with atomic_file(place / _ENTRY) as entry:
                entry.write_text(f"{json.dumps(content)}\n")
        finally:
            shutil.rmtree(partial, ignore_errors=True)
            if not (place / _ENTRY).exists():
                shutil.rmtree(place, ignore_errors=True)
        if before is not None:
            shutil.rmtree(place / before.folder, ignore_errors=True)
        return product

    def get(self, name: str) -> Product:
        """Return a product.

        Args:
            name: Its name.

        Raises:
            FileNotFoundError: If there is none of this name; the message lists the existing ones.
            ValueError: If the name cannot be one, or what describes the product is damaged.
        """
        entry = self.folder / checked_name(name) / _ENTRY
        try:
            content = json.loads(entry.read_text())
            product = Product(normalize("NFC", name), **content)
            _check_inside(product)
        except (FileNotFoundError, NotADirectoryError) as error:
            known = ", ".join(self.names()) or "none"
            msg = f"product {name!r} is not in {str(self.folder)!r}; there: {known}."
            raise FileNotFoundError(msg) from error
        except (TypeError, ValueError) as error:
            msg = f"{str(entry)!r} does not describe a product; remove {name!r}, and add it again."
            raise ValueError(msg) from error
        return product

    def model(self, product: Product) -> Path:
        """Return the path of a product's model.

        Args:
            product: The product.
        """
        return self.folder / product.name / product.folder / product.file

    def names(self) -> list[str]:
        """Return the names of all products, sorted."""
        return sorted(self._names())

    def _names(self) -> Iterator[str]:
        for entry in self.folder.glob(f"*/{_ENTRY}"):
            if _NAME.fullmatch(entry.parent.name):
                yield entry.parent.name

    def remove(self, name: str) -> None:
        """Remove a product and its model.

        Args:
            name: Its name.

        Raises:
            FileNotFoundError: If there is none of this name.
            OSError: If its files cannot be removed.
            ValueError: If the name cannot be one.
        """
        place = self.folder / checked_name(name)
        if not (place / _ENTRY).is_file():
            self.get(name)
        # From here on it is not there.
        (place / _ENTRY).unlink()
        shutil.rmtree(place)

    def product_of(self, path: str | Path) -> str | None:
        """Return the product whose name a folder in a path has, the innermost if there are several.

        Args:
            path: An image file.
        """
        return part_of(path, set(self._names()))

    def models(self) -> set[str]:
        """Return the names of the models of all products.

        Raises:
            ValueError: If the store has no product.
        """
        names = self.names()
        if not names:
            msg = f"{str(self.folder)!r} contains no product; add one with `rd-plugin products add`."
            raise ValueError(msg)
        return {self.get(name).model for name in names}


def checked_name(name: str) -> str:
    """Return the name of a product in its normal form, in which it cannot lead out of the store.

    Args:
        name: The name.

    Raises:
        ValueError: If it cannot be the name of a product.
    """
    name = normalize("NFC", name)
    if not _NAME.fullmatch(name):
        msg = f"product must be a name of up to {_MAX_LENGTH} letters, digits, '.', '_' and '-', got {name!r}."
        raise ValueError(msg)
    return name


def _check_inside(product: Product) -> None:
    """Check that a model is in the folder of its product.

    Raises:
        ValueError: If it does not.
    """
    for part in (product.folder, product.file):
        if not part or Path(part).name != part:
            raise ValueError(part)


def _hash(folder: Path) -> str:
    """SHA-256 of the names and contents of a folder's files."""
    digest = hashlib.sha256()
    for file in sorted(folder.iterdir()):
        with file.open("rb") as content:
            inner = hashlib.sha256()
            while piece := content.read(2**20):
                inner.update(piece)
        digest.update(f"{file.name}\n{inner.hexdigest()}\n".encode())
    return digest.hexdigest()
