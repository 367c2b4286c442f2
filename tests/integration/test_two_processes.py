# SPDX-License-Identifier: Apache-2.0
"""Two processes train one model."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

# Lightning starts the script once more for the second process. The run that fails is the last: it ends that process.
SCRIPT = """
import sys
import torch
import rd_plugin
from anomalib.engine import Engine

torch.set_num_threads(1)
VIT = {"backbone": "test_vit", "student_depth": 2}
RESNET = {"backbone": "resnet18", "layers": ["layer2", "layer3"]}
RUNS = {
    "dinomaly": ("ReverseDistillation", VIT),
    "fused": ("FusedReverseDistillation", VIT),
    "revisited": ("RevisitedReverseDistillation", RESNET),
    "parts": ("FusedReverseDistillation", RESNET),
    "frozen": ("ExpertReverseDistillation", {**RESNET, "train_teacher": False, "deviation": "mahalanobis"}),
    "projected tokens": ("RevisitedReverseDistillation", VIT),
    "expert tokens": ("ExpertReverseDistillation", VIT),
    "expert": ("ExpertReverseDistillation", RESNET),
}


def fit(method, arguments, strategy, several=False):
    model = getattr(rd_plugin, method)(pre_trained=False, image_size=64, visualizer=False, **arguments)
    loading = {"train_batch_size": 4, "num_workers": 0}
    if several:
        data = rd_plugin.PartsFolder(sys.argv[2], val_split_ratio=0.2, test_split_ratio=0.4, **loading)
    else:
        data = rd_plugin.MVTec(sys.argv[1], "tile", **loading)
    limits = {"max_steps": 3, "limit_val_batches": 1, "enable_progress_bar": False}
    engine = Engine(accelerator="cpu", devices=2, strategy=strategy, logger=False, **limits)
    engine.fit(model, datamodule=data)
    values = {name: parameter.detach() for name, parameter in model.named_parameters()}
    statistics = (".deviation.", ".evidence.", ".of_parts.")
    values |= {name: buffer for name, buffer in model.named_buffers() if any(kind in name for kind in statistics)}
    each = model.post_processor.by_part if several else [model.post_processor]
    values["thresholds"] = torch.tensor([float(one.image_threshold) for one in each])
    return {"steps": engine.trainer.global_step, "world": engine.trainer.world_size, "values": values}, engine


for name, (method, arguments) in RUNS.items():
    strategy = "ddp_find_unused_parameters_true" if name.startswith("expert") else "ddp"
    result, engine = fit(method, arguments, strategy, several=name == "parts")
    torch.save(result, f"{name}-{engine.trainer.global_rank}.pt")
try:
    fit(*RUNS["expert"], "ddp")
except RuntimeError as error:
    print("REFUSED", error)
"""


RUNS = ("dinomaly", "fused", "revisited", "parts", "frozen", "projected tokens", "expert tokens", "expert")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, mvtec_root: Path, parts_root: Path) -> tuple[Path, str]:
    """The folder with the results, and what was printed."""
    folder = tmp_path_factory.mktemp("two")
    (folder / "script.py").write_text(SCRIPT)
    shutil.copytree(parts_root, folder / "parts")
    # Of one part, a single image to train on: fewer than there are processes.
    for image in sorted((folder / "parts").glob("tile/good/*/*.png"))[5:]:
        image.unlink()
    command = [sys.executable, "-W", "ignore", "script.py", str(mvtec_root), "parts"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=1500)
    return folder, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("run", RUNS)
def test_two_processes_end_with_equal_weights(trained: tuple[Path, str], run: str) -> None:
    folder, output = trained
    files = [folder / f"{run}-{rank}.pt" for rank in (0, 1)]
    assert all(file.is_file() for file in files), output[-3000:]
    first, second = map(torch.load, files)
    assert first["steps"] == second["steps"] == 3
    assert first["world"] == second["world"] == 2
    assert first["values"]["thresholds"].isfinite().all()
    assert len(first["values"]["thresholds"]) == (2 if run == "parts" else 1)
    if run == "parts":
        assert all(first["values"][f"model.of_parts.{part}.0.teacher.mean"].numel() for part in (0, 1))
    for name, expected in first["values"].items():
        assert torch.equal(expected, second["values"][name]), name


@pytest.mark.slow
def test_two_processes_with_a_trained_teacher_need_their_strategy(trained: tuple[Path, str]) -> None:
    (refusal,) = [line for line in trained[1].splitlines() if line.startswith("REFUSED")][:1]
    assert "strategy='ddp_find_unused_parameters_true'" in refusal
