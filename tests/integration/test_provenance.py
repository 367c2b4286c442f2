# SPDX-License-Identifier: Apache-2.0
"""Records of runs by anomalib's command line and engine."""

import json
import logging
import shutil
from pathlib import Path

import pytest

from rd_plugin.data.labels import content_digest
from rd_plugin.models.distillation import Distillation
from rd_plugin.provenance import hash_weights

from .conftest import BACKBONE, LAYERS, SIZE, WEIGHTS, Method, Trained, cpu_engine, one_method, tile_data

IMAGE = Path("tile/train/good/003.png")


def _record(trained: Trained) -> dict:
    return json.loads(trained.checkpoint.with_suffix(".json").read_text())


def _model(method: Method, **arguments: object) -> Distillation:
    arguments = {"pre_processor": method.configure_pre_processor((SIZE, SIZE)), "visualizer": False, **arguments}
    return method(**{"backbone": "test_resnet", "layers": ["layer1"], "pre_trained": False, **arguments})


def _fit(folder: Path, root: Path, **arguments: object) -> dict:
    """Train for a step and return the record of the data."""
    engine = cpu_engine(folder, max_steps=1, limit_val_batches=0)
    engine.fit(_model(**arguments), datamodule=tile_data(root))
    (record,) = folder.rglob("v0/weights/lightning/model.json")
    return json.loads(record.read_text())["data"]


def test_record_of_a_run_on_the_command_line(trained: Trained, mvtec_root: Path) -> None:
    record = _record(trained)
    assert record["method"] == trained.method.__name__
    assert record["arguments"]["backbone"] == BACKBONE
    assert record["arguments"]["pre_trained"] == WEIGHTS
    assert record["input_size"] == [SIZE, SIZE]
    assert record["steps"] == 25 * 3
    assert record["seed"] == 0
    assert record["data"] | {"fingerprint": None, "held_out": []} == {
        "module": "MVTec",
        "root": str(mvtec_root),
        "category": "tile",
        "split_seed": None,
        "images": 12,
        "fingerprint": None,
        "held_out": [],
    }
    assert len(record["data"]["fingerprint"]) == 64
    held_out = {content_digest(image) for image in (mvtec_root / "tile" / "test" / "good").iterdir()}
    assert held_out <= set(record["data"]["held_out"])
    # What the teacher was before it was trained, if it was.
    untaught = _model(trained.method, backbone=BACKBONE, layers=LAYERS, pre_trained=WEIGHTS).model.teacher
    untaught.load_pretrained()
    assert record["teacher"] == hash_weights(untaught.state_dict())


@one_method
def test_fingerprint_of_the_images_that_were_trained_on(method: Method, tmp_path: Path, mvtec_root: Path) -> None:
    shutil.copytree(mvtec_root, tmp_path / "data")
    whole = _fit(tmp_path / "whole", tmp_path / "data", method=method)
    (tmp_path / "data" / IMAGE).write_bytes(b"")
    skipped = _fit(tmp_path / "skipped", tmp_path / "data", method=method, on_bad_data="skip")
    (tmp_path / "data" / IMAGE).unlink()
    without = _fit(tmp_path / "without", tmp_path / "data", method=method)
    assert skipped == without
    assert (whole["images"], without["images"]) == (12, 11)
    assert whole["fingerprint"] != without["fingerprint"]
    unread = _fit(tmp_path / "unread", tmp_path / "data", method=method, on_bad_data="off")
    assert unread == without | {"fingerprint": None, "held_out": []}


@one_method
def test_checkpoint_of_another_backbone(trained: Trained, tmp_path: Path, mvtec_root: Path) -> None:
    message = f"backbone '{BACKBONE}' in the checkpoint, 'test_resnet' in the model; layers "
    for run in ("fit", "test", "predict"):
        with pytest.raises(ValueError, match=f"The checkpoint does not fit the model: {message}"):
            getattr(cpu_engine(tmp_path, max_steps=1), run)(
                _model(trained.method), datamodule=tile_data(mvtec_root), ckpt_path=trained.checkpoint
            )


@one_method
def test_checkpoint_of_another_size(
    trained: Trained, tmp_path: Path, mvtec_root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pre_processor = trained.method.configure_pre_processor((96, 96))
    model = _model(trained.method, backbone=BACKBONE, layers=LAYERS, pre_processor=pre_processor)
    with caplog.at_level(logging.WARNING):
        cpu_engine(tmp_path, limit_test_batches=1).test(
            model, datamodule=tile_data(mvtec_root), ckpt_path=trained.checkpoint
        )
    assert "(resizing to 64 x 64 pixels) replaces the model's (resizing to 96 x 96 pixels)" in caplog.text
    assert model.resized_to == [SIZE, SIZE]


@one_method
def test_export_says_which_model_it_takes(trained: Trained, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """anomalib takes the model from the checkpoint, whatever arguments were given."""
    with caplog.at_level(logging.INFO):
        path = cpu_engine(tmp_path).export(
            _model(trained.method), "torch", export_root=tmp_path, ckpt_path=trained.checkpoint
        )
    assert f"Exporting {trained.method.__name__} with backbone {BACKBONE} and layers blocks.1, blocks.2" in caplog.text
    exported = json.loads(path.with_suffix(".json").read_text())
    assert {name: exported[name] for name in _record(trained)} == _record(trained)
