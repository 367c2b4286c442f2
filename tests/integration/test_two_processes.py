# SPDX-License-Identifier: Apache-2.0
"""Two processes train one model: vision transformers and RD++; others in test_expert.py and test_fused.py."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

# Lightning starts the script once more for the second process.
SCRIPT = """
import sys
import torch
import rd_plugin
from anomalib.engine import Engine

torch.set_num_threads(1)
VIT = {"backbone": "test_vit", "student_depth": 2}
RUNS = {
    "dinomaly": ("ReverseDistillation", VIT),
    "fused": ("FusedReverseDistillation", VIT),
    "revisited": ("RevisitedReverseDistillation", {"backbone": "resnet18", "layers": ["layer2", "layer3"]}),
}
for name, (method, arguments) in RUNS.items():
    model = getattr(rd_plugin, method)(pre_trained=False, image_size=64, visualizer=False, **arguments)
    data = rd_plugin.MVTec(sys.argv[1], "tile", train_batch_size=4, num_workers=0)
    limits = {"max_steps": 3, "limit_val_batches": 1, "enable_progress_bar": False}
    engine = Engine(accelerator="cpu", devices=2, strategy="ddp", logger=False, **limits)
    engine.fit(model, datamodule=data)
    values = {name: parameter.detach() for name, parameter in model.named_parameters()}
    result = {"steps": engine.trainer.global_step, "world": engine.trainer.world_size, "values": values}
    torch.save(result, f"{name}-{engine.trainer.global_rank}.pt")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, mvtec_root: Path) -> Path:
    folder = tmp_path_factory.mktemp("two")
    (folder / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-W", "ignore", "script.py", str(mvtec_root)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=900)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("run", ["dinomaly", "fused", "revisited"])
def test_two_processes_end_with_equal_weights(folder: Path, run: str) -> None:
    first, second = (torch.load(folder / f"{run}-{rank}.pt") for rank in (0, 1))
    assert first["steps"] == second["steps"] == 3
    assert first["world"] == second["world"] == 2
    for name, expected in first["values"].items():
        assert torch.equal(expected, second["values"][name]), name
