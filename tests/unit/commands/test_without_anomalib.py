# SPDX-License-Identifier: Apache-2.0
"""``rd-plugin inspect`` as on a station: there is no torch, no anomalib, and nothing that needs them."""

import csv
import json
import subprocess
import sys
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image

from rd_plugin.drift import Reference, image_statistics
from rd_plugin.provenance import Provenance, hash_export, record_file, write_record

STATION = """
import sys
from importlib.machinery import PathFinder

MISSING = set(sys.argv.pop(1).split(","))


class Station(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in MISSING else super().find_spec(name, path, target)


sys.meta_path = [Station if finder is PathFinder else finder for finder in sys.meta_path]
from rd_plugin.commands.tool import main

try:
    main(sys.argv[1:])
finally:
    assert not MISSING & sys.modules.keys()
"""
ROOT = Path(__file__).parents[3]


@cache
def _missing() -> str:
    """The modules that are installed here, and not by requirements/station.txt or as its alternative."""
    wanted = {*_requirements(), Requirement("onnxruntime")}
    known: set[str] = set()
    while wanted:
        name = canonicalize_name(wanted.pop().name).removesuffix("-headless")
        if name in known:
            continue
        known.add(name)
        # OpenCV has several distributions, which do not need different things.
        with suppress(PackageNotFoundError):
            needed = map(Requirement, requires(name) or ())
            wanted |= {need for need in needed if need.marker is None or need.marker.evaluate({"extra": ""})}
    ours = {"rd-plugin", "pip", "setuptools"}
    return ",".join(
        module
        for module, distributions in packages_distributions().items()
        if not {canonicalize_name(name).removesuffix("-headless") for name in distributions} & (known | ours)
    )


def _requirements() -> list[Requirement]:
    lines = (ROOT / "requirements" / "station.txt").read_text().splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def test_requirements_are_among_those_of_the_whole_package() -> None:
    project = Path(ROOT / "pyproject.toml").read_text()
    wanted = {str(need) for need in _requirements() if need.name not in {"numpy", "opencv-python-headless"}}
    assert wanted == {line for line in wanted if f'"{line}"' in project}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Thirty images, and a model in ONNX that scores an image by its mean, with a record."""
    rng = np.random.default_rng(0)
    levels = rng.integers(40, 60, 30)
    images = [rng.integers(0, 2 * level, (8, 8, 3)).astype(np.uint8) for level in levels]
    (tmp_path / "parts").mkdir()
    for index, image in enumerate(images):
        Image.fromarray(image).save(tmp_path / "parts" / f"{index:02}.png")
    half = numpy_helper.from_array(np.array([0.195], np.float32), "half")
    nodes = [
        helper.make_node("ReduceMean", ["images"], ["anomaly_map"], axes=[1], keepdims=1),
        helper.make_node("ReduceMean", ["anomaly_map"], ["pred_score"], axes=[1, 2, 3], keepdims=0),
        helper.make_node("Greater", ["pred_score", "half"], ["pred_label"]),
        helper.make_node("Greater", ["anomaly_map", "half"], ["pred_mask"]),
    ]
    kinds = {
        "anomaly_map": (TensorProto.FLOAT, [1, 1, 8, 8]),
        "pred_score": (TensorProto.FLOAT, [1]),
        "pred_label": (TensorProto.BOOL, [1]),
        "pred_mask": (TensorProto.BOOL, [1, 1, 8, 8]),
    }
    outputs = [helper.make_tensor_value_info(name, *kind) for name, kind in kinds.items()]
    images_input = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, 8, 8])
    graph = helper.make_graph(nodes, "mean", [images_input], outputs, [half])
    model = tmp_path / "model.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8), model)
    reference = Reference(np.stack(list(map(image_statistics, images))))
    record = Provenance(method="ReverseDistillation", steps=3, reference=reference.plain())
    write_record(record_file(model), {**record.plain(), "export": {"threshold": 0.195, "files": hash_export(model)}})
    return tmp_path


def _openvino(folder: Path) -> None:
    """Convert the model, with its record."""
    import openvino as ov

    ov.save_model(ov.convert_model(folder / "model.onnx"), folder / "model.xml", compress_to_fp16=False)
    record = json.loads((folder / "model.json").read_text())
    record["export"]["files"] = hash_export(folder / "model.xml")
    write_record(folder / "model.json", record)


def _inspect(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", STATION, _missing(), "inspect", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize("name", ["model.onnx", "model.xml"])
def test_rows_pictures_and_drift_without_torch(folder: Path, name: str) -> None:
    if name == "model.xml":
        _openvino(folder)
    done = _inspect(folder, name, "parts", "--csv", "rows.csv", "--jsonl", "rows.jsonl", "--pictures", "all")
    assert done.returncode == 0, done.stderr
    with (folder / "rows.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len((folder / "rows.jsonl").read_text().splitlines()) == 30
    assert {row["verdict"] for row in rows} == {"normal", "anomalous"}
    assert {row["model"] for row in rows} == {Provenance(**_plain(folder)).id}
    assert all(json.loads(row["boxes"]) for row in rows if row["verdict"] == "anomalous")
    assert rows[-1]["drift"] == "no"
    assert len(list((folder / "pictures").iterdir())) == 30
    assert "Drift: not detected" in done.stderr


def _plain(folder: Path) -> dict:
    record = json.loads((folder / "model.json").read_text())
    return {name: value for name, value in record.items() if name != "export"}


def test_what_a_station_lacks_is_named(folder: Path) -> None:
    for arguments, expected in (
        (["model.onnx", "parts", "--report", "report.html"], ": pip install jinja2 matplotlib."),
        (["model.ckpt", "parts"], "needs torch and anomalib"),
        (["model.pt", "parts"], "needs torch and anomalib"),
    ):
        (folder / arguments[0]).touch()
        done = _inspect(folder, *arguments)
        assert done.returncode == 2
        assert expected in done.stderr
        assert "Traceback" not in done.stderr


def test_the_python_interface_without_torch(folder: Path) -> None:
    code = STATION.partition("from rd_plugin.commands")[0] + (
        "import numpy as np\nfrom rd_plugin import Inspector\n"
        "print(Inspector('model.onnx').predict(np.full((8, 8, 3), 99, np.uint8), channels='BGR').verdict)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, _missing()], cwd=folder, capture_output=True, text=True, check=True, timeout=300
    )
    assert done.stdout == "anomalous\n"
