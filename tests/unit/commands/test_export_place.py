# SPDX-License-Identifier: Apache-2.0
"""Where exports go by default."""

from pathlib import Path

import pytest
from anomalib.deploy import CompressionType

from rd_plugin.commands.export_place import beside_checkpoint

RUN = "results/ReverseDistillation/parts/v0"


@pytest.mark.parametrize(
    ("checkpoint", "compression", "given", "expected"),
    [
        (f"{RUN}/weights/lightning/model.ckpt", None, [], (Path(RUN), "model")),
        (f"{RUN}/weights/lightning/epoch=3.ckpt", None, [], (Path(RUN), "epoch=3")),
        ("ours.ckpt", CompressionType.INT8_PTQ, [], (Path(), "ours_int8_ptq")),
        ("ours.ckpt", None, ["--model_file_name=other"], (Path(), "other")),
        ("ours.ckpt", None, ["--default_root_dir", "x"], (None, "ours")),
        ("s3://bucket/ours.ckpt", None, [], (None, "other")),
        (None, None, [], (None, "other")),
    ],
)
def test_place(
    checkpoint: str | None, compression: CompressionType | None, given: list[str], expected: tuple[Path | None, str]
) -> None:
    arguments = {"ckpt_path": checkpoint, "compression_type": compression, "model_file_name": "other"}
    beside_checkpoint(arguments, given)
    assert (arguments.get("export_root"), arguments["model_file_name"]) == expected


def test_folder_that_is_given_stays() -> None:
    arguments = {"ckpt_path": "ours.ckpt", "export_root": Path("mine"), "model_file_name": "model"}
    beside_checkpoint(arguments, ["--export_root", "mine"])
    assert arguments == {"ckpt_path": "ours.ckpt", "export_root": Path("mine"), "model_file_name": "model"}
