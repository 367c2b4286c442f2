# SPDX-License-Identifier: Apache-2.0
"""Models in MLflow: fetched when they are named by an address of its registry or of a run."""

import atexit
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

__all__ = ["fetched"]

_ADDRESSES = ("models:/", "runs:/")
_SUFFIXES = (".xml", ".onnx", ".pt", ".ckpt")


def fetched(model: Path) -> Path:
    """Return the file of a model, fetched from MLflow if it is not on this machine.

    MLflow is asked at ``MLFLOW_TRACKING_URI``. What is fetched is removed when the program ends.

    Args:
        model: A file or a folder, which is returned as it is; or ``models:/NAME/VERSION``, ``models:/NAME@ALIAS`` or
            ``runs:/RUN/FOLDER``, with one model in it.

    Raises:
        FileNotFoundError: If there is no such model.
        ImportError: If MLflow is not installed.
        ValueError: If the address is of several models, or of none that can be inspected.

    Example:
        >>> fetched(Path("model.xml")).name
        'model.xml'
    """
    address = str(model)
    if not address.startswith(_ADDRESSES):
        return model
    try:
        artifacts, exceptions = import_module("mlflow.artifacts"), import_module("mlflow.exceptions")
    except ModuleNotFoundError as error:
        msg = f"model {address!r} needs {error.name}: pip install mlflow."
        raise ImportError(msg) from error
    folder = TemporaryDirectory(prefix="rd_plugin.")
    atexit.register(folder.cleanup)
    try:
        place = Path(artifacts.download_artifacts(address, dst_path=folder.name))
    except exceptions.MlflowException as error:
        msg = f"model {address!r} could not be fetched from {import_module('mlflow').get_tracking_uri()!r}: {error}"
        raise FileNotFoundError(msg) from error
    found = sorted(path for path in place.rglob("*") if path.suffix in _SUFFIXES)
    if len(found) != 1:
        listed = ", ".join(str(path.relative_to(place)) for path in found) or "none"
        msg = f"model {address!r} must hold one model ({', '.join(_SUFFIXES)}), found: {listed}."
        raise ValueError(msg)
    return found[0]
