# SPDX-License-Identifier: Apache-2.0
"""Addresses of MLflow; ``tests/integration/test_mlflow.py`` reads from a real one."""

import sys
from pathlib import Path
from types import ModuleType

import pytest

from rd_plugin.inspection.registry import fetched


class MlflowError(Exception):
    pass


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, ...]]:
    """MLflow with the files of each address."""
    models: dict[str, tuple[str, ...]] = {}

    def download(address: str, dst_path: str) -> str:
        if address not in models:
            msg = f"{address} not found"
            raise MlflowError(msg)
        for name in models[address]:
            (Path(dst_path) / name).write_text("content")
        return dst_path

    whole, artifacts, exceptions = (ModuleType(f"mlflow{name}") for name in ("", ".artifacts", ".exceptions"))
    whole.get_tracking_uri = lambda: "sqlite:///mlflow.db"
    artifacts.download_artifacts, exceptions.MlflowException = download, MlflowError
    for module in (whole, artifacts, exceptions):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return models


def test_model_with_the_files_beside_it(served: dict[str, tuple[str, ...]]) -> None:
    served["models:/cap/1"] = ("MLmodel", "model.bin", "model.json", "model.xml")
    file = fetched(Path("models:/cap/1"))
    assert file.name == "model.xml"
    assert file.with_suffix(".json").is_file()


@pytest.mark.parametrize(("files", "found"), [((), "none"), (("a.ckpt", "b.onnx", "b.json"), "a.ckpt, b.onnx")])
def test_which_model_must_be_clear(served: dict[str, tuple[str, ...]], files: tuple[str, ...], found: str) -> None:
    served["runs:/abc/model"] = files
    with pytest.raises(ValueError, match=rf"'runs:/abc/model' must hold one model .* found: {found}\.$"):
        fetched(Path("runs:/abc/model"))


@pytest.mark.usefixtures("served")
def test_unknown_model_is_named_with_the_place() -> None:
    expected = r"'models:/nut/1' could not be fetched from 'sqlite:///mlflow.db': models:/nut/1 not found"
    with pytest.raises(FileNotFoundError, match=expected):
        fetched(Path("models:/nut/1"))


def test_mlflow_is_asked_for_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow.artifacts", None)
    with pytest.raises(ImportError, match=r"'models:/cap/1' needs mlflow.artifacts: pip install mlflow"):
        fetched(Path("models:/cap/1"))
