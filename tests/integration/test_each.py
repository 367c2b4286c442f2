# SPDX-License-Identifier: Apache-2.0
"""A model for each of several folders by one command: the models that a command for each would train."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from rd_plugin.products import Store

from ..processes import run_function, run_program
from .conftest import BACKBONE, LAYERS, WEIGHTS, run_cli

COMMAND = (
    *("train", "--config", "folder", "--model", "rd_plugin.ReverseDistillation", "--model.backbone", BACKBONE),
    *("--model.pre_trained", WEIGHTS, "--model.layers", str(LAYERS), "--model.image_size", "64"),
    *("--data.num_workers", "0"),
    *("--trainer.accelerator", "cpu", "--trainer.max_steps", "2", "--trainer.enable_progress_bar", "false"),
)


def test_a_model_for_each_folder(tmp_path: Path, mvtec_root: Path) -> None:
    for part, defect in (("cap", "scratch"), ("screw", "stain")):
        shutil.copytree(mvtec_root / "tile" / "train" / "good", tmp_path / "parts" / part / "good")
        shutil.copytree(mvtec_root / "tile" / "test" / defect, tmp_path / "parts" / part / "defect")
    (tmp_path / "parts" / "empty" / "good").mkdir(parents=True)
    each = (*COMMAND, "--data.root", "parts", "--each")
    done = run_function(tmp_path, run_program, "rd-plugin", *each, CUDA_VISIBLE_DEVICES="", COLUMNS="200")
    assert done.status == 1, done.output[-3000:]
    assert "0 good images; at least 4 are needed." in done.output.splitlines()[-5]

    results = tmp_path / "results" / "parts"
    found = {entry["product"]: entry for entry in json.loads((results / "products.json").read_text())["products"]}
    page = (results / "index.html").read_text()
    for name in ("cap", "screw"):
        assert (results / found[name]["report"]).is_file()
        assert f'<a href="{found[name]["report"]}">{name}</a>' in page
        assert 0 <= found[name]["metrics"]["image_AUROC"] <= 1
        assert found[name]["defects_found"]["total"] == 4

    # The last one, whose training follows others in the same process.
    run_cli(tmp_path, *COMMAND, "--data.root", "parts/screw", "--default_root_dir", "alone", program="rd-plugin")
    (alone,) = (tmp_path / "alone").glob("**/v0/weights/lightning/model.ckpt")
    store = Store(results / "products")
    assert store.names() == ["cap", "screw"]
    first, second = (
        torch.load(file, weights_only=False)["state_dict"] for file in (alone, store.model(store.get("screw")))
    )
    assert first.keys() == second.keys()
    assert [name for name in first if not torch.equal(first[name].nan_to_num(), second[name].nan_to_num())] == []

    inspected = ("results/parts/products", "parts/cap/defect", "parts/screw/defect", "--product_from", "path")
    verdicts = run_cli(tmp_path, "inspect", *inspected, program="rd-plugin")
    assert verdicts.count("/defect/00") == 8


@pytest.mark.slow
def test_side_by_side_on_ray_the_same_comes_of_it(tmp_path: Path, mvtec_root: Path) -> None:
    pytest.importorskip("ray")
    for part in ("cap", "screw"):
        shutil.copytree(mvtec_root / "tile" / "train" / "good", tmp_path / "parts" / part / "good")
    (tmp_path / "parts" / "empty" / "good").mkdir(parents=True)
    each = (*COMMAND, "--data.root", "parts", "--each", "--seed_everything", "0")
    environment = {"CUDA_VISIBLE_DEVICES": "", "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    results = tmp_path / "results" / "parts"
    found = {}
    for engine in ("local", "ray"):
        done = run_function(tmp_path, run_program, "rd-plugin", *each, "--engine", engine, **environment)
        assert done.status == 1, done.output[-3000:]
        outcomes = json.loads((results / "products.json").read_text())
        page = (results / "index.html").read_text()
        for entry in outcomes["products"]:
            del entry["seconds"]
            for file in filter(None, (entry.pop("report"), entry.pop("checkpoint"))):
                assert (results / file).is_file()
            assert entry["reason"] or f'/report.html">{entry["product"]}</a>' in page
        store = Store(results / "products")
        models = (store.model(store.get(name)) for name in store.names())
        found[engine] = outcomes, store.names(), [torch.load(file, weights_only=False)["state_dict"] for file in models]
    (local, names, weights), (on_ray, names_on_ray, weights_on_ray) = found.values()
    assert on_ray == local
    assert [entry["reason"][-37:] for entry in local["products"]] == ["", "0 good images; at least 4 are needed.", ""]
    assert names_on_ray == names == ["cap", "screw"]
    for first, second in zip(weights, weights_on_ray, strict=True):
        assert [name for name in first if not torch.equal(first[name].nan_to_num(), second[name].nan_to_num())] == []
    # Nothing is left to do.
    done = run_function(tmp_path, run_program, "rd-plugin", *each, "--engine", "ray", "--resume", **environment)
    assert done.status == 1
    assert [path.name for path in sorted((results / "ReverseDistillation" / "cap").glob("v*"))] == ["v0", "v1"]
