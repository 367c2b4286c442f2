# SPDX-License-Identifier: Apache-2.0
"""Training over nodes: two on this machine, with two processes each, end with what one process computes."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ..processes import Done, run_code, run_function
from ..waiting import free_port, wait_until

# A validation set of 17 images and a test set of 11, each in batches of 2: with four processes some get one image more
# than others, and the last batches hold one. Of 9 training images, too.
_DATA = {"val_split_ratio": 0.515, "test_split_ratio": 0.212, "train_batch_size": 2, "eval_batch_size": 2}
_GOOD, _DEFECTS, _VALIDATED, _TESTED = 33, 4, 17, 11
_PROCESSES = 4

# In four processes: train. In one, with the weights of the four: compute statistics, thresholds and metrics once more.
SCRIPT = f"""
import json
import sys
import torch
import rd_plugin
from anomalib.engine import Engine
from rd_plugin.drift import Reference

torch.set_num_threads(1)
SMALL = {{"backbone": "resnet18", "layers": ["layer2", "layer3"], "pre_trained": False, "image_size": 64}}
RUNS = {{
    "ReverseDistillation": {{"deviation": "mahalanobis"}},
    "ExpertReverseDistillation": {{"deviation": "mahalanobis", "train_teacher": False}},
    "FusedReverseDistillation": {{}},
}}
root, mode, *names = sys.argv[1:]
for name in names or RUNS:
    kind = getattr(rd_plugin, name)
    limits = {{"accelerator": "cpu", "logger": False, "enable_progress_bar": False}}
    if mode == "nodes":
        model = kind(**SMALL, **RUNS[name], visualizer=False)
        limits |= {{"devices": 2, "num_nodes": 2, "strategy": "ddp", "max_steps": 4}}
    else:
        checkpoint = json.loads(open(f"{{name}}.json").read())["checkpoint"]
        model = kind.load_from_checkpoint(checkpoint, learning_rate=0.0, visualizer=False)
        for layer in model.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = 0.0
        limits |= {{"devices": 1, "max_steps": 1}}
    data = rd_plugin.PartsFolder(root, num_workers=0, **{_DATA!r})
    engine = Engine(default_root_dir=mode, **limits)
    engine.train(model=model, datamodule=data)
    trainer, post_processor = engine.trainer, model.post_processor
    result = {{
        "world": trainer.world_size,
        "metrics": {{key: float(value) for key, value in trainer.callback_metrics.items()}},
        "expected": post_processor.expected_false_alarms,
        "thresholds": [float(post_processor.image_threshold), float(post_processor.pixel_threshold)],
        "range": [float(post_processor.image_min), float(post_processor.image_max)],
        "weights": float(sum(value.double().abs().sum() for value in model.parameters())),
        "reference": len(Reference.of(model.provenance.reference).scores) if trainer.is_global_zero else 0,
        "checkpoint": trainer.checkpoint_callback.best_model_path,
    }}
    place = name if mode == "nodes" and trainer.is_global_zero else f"{{name}}-{{mode}}-{{trainer.global_rank}}"
    with open(f"{{place}}.json", "w") as file:
        json.dump(result, file)
"""
METHODS = ("ReverseDistillation", "ExpertReverseDistillation", "FusedReverseDistillation")


@pytest.fixture(scope="module")
def parts_of_33(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good images and a few defects with masks."""
    rng, root = np.random.default_rng(1), tmp_path_factory.mktemp("parts_of_33")
    for folder, count in (("mask", 0), ("good", _GOOD), ("defect", _DEFECTS)):
        (root / folder).mkdir()
        for index in range(count):
            image, mask = rng.normal(128, 20, (64, 64, 3)), np.zeros((64, 64), np.uint8)
            if folder == "defect":
                column = int(rng.integers(5, 40))
                mask[20:34, column : column + 12] = 255
                image[mask > 0] = (230, 30, 30)
                Image.fromarray(mask).save(root / "mask" / f"{index}.png")
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(root / folder / f"{index}.png")
    return root


@contextmanager
def nodes(folder: Path, program: Sequence[str]) -> Iterator[list[subprocess.Popen]]:
    """Two nodes on this machine, each with two processes; what they print goes to ``node0.txt`` and ``node1.txt``."""
    address = ["--master-addr", "127.0.0.1", "--master-port", str(free_port())]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "", "GLOO_SOCKET_IFNAME": "lo", "COLUMNS": "400"}
    started = []
    for rank in (0, 1):
        run = [sys.executable, "-m", "torch.distributed.run", "--nnodes", "2", "--nproc-per-node", "2"]
        with (folder / f"node{rank}.txt").open("w") as output:
            command = [*run, "--node-rank", str(rank), *address, *program]
            started.append(subprocess.Popen(command, cwd=folder, stdout=output, stderr=output, env=environment))
    try:
        yield started
    finally:
        for node in started:
            # Ends its processes, too.
            node.terminate()
            try:
                node.wait(60)
            except subprocess.TimeoutExpired:
                node.kill()


def printed(folder: Path) -> str:
    return "".join((folder / f"node{rank}.txt").read_text() for rank in (0, 1))


# In each of two processes, as torchrun starts them.
QUICK = """
import json
import os
import sys
import torch
from anomalib.engine import Engine
from rd_plugin import PartsFolder, ReverseDistillation
from rd_plugin.drift import Reference

small = {"backbone": "test_resnet", "layers": ["layer1"], "pre_trained": False, "image_size": 32, "visualizer": False}
model = ReverseDistillation(**small, deviation="mahalanobis")
# Five images set thresholds.
data = PartsFolder(sys.argv[1], val_split_ratio=0.42, train_batch_size=2, eval_batch_size=2, num_workers=0)
limits = {"max_steps": 2, "logger": False, "enable_progress_bar": False}
engine = Engine(accelerator="cpu", devices=2, strategy="ddp", **limits)
engine.fit(model, datamodule=data)
buffers = {name: buffer.double().sum().item() for name, buffer in model.model.named_buffers()}
result = {
    "world": engine.trainer.world_size,
    "expected": model.post_processor.expected_false_alarms,
    "threshold": float(model.post_processor.image_threshold),
    "buffers": buffers,
    "scores": len(Reference.of(model.provenance.reference).scores) if engine.trainer.is_global_zero else None,
}
with open(f"{os.environ['RANK']}.json", "w") as file:
    json.dump(result, file)
"""


def test_two_processes_count_each_image_once_and_end_alike(tmp_path: Path, mvtec_root: Path) -> None:
    several = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0", "TORCHELASTIC_RUN_ID": "quick"}
    several |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port()), "GLOO_SOCKET_IFNAME": "lo"}

    def start(rank: str) -> Done:
        own = {"RANK": rank, "LOCAL_RANK": rank, "CUDA_VISIBLE_DEVICES": ""}
        return run_function(tmp_path, run_code, QUICK, str(mvtec_root / "tile" / "train"), **several, **own)

    with ThreadPoolExecutor(2) as threads:
        for done in threads.map(start, "01"):
            assert done.status == 0, done.output[-3000:]
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first["world"] == 2
    assert first["scores"] == first["expected"][0] == 5
    for name in ("expected", "threshold", "buffers"):
        assert first[name] == second[name]
    (data,) = tmp_path.glob("results/ReverseDistillation/*")
    assert len(list(data.glob("v*"))) == 1


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, parts_of_33: Path) -> Path:
    """A folder with the results of four processes, and of one with their weights."""
    folder = tmp_path_factory.mktemp("nodes")
    (folder / "script.py").write_text(SCRIPT)
    with nodes(folder, ["script.py", str(parts_of_33), "nodes"]) as started:
        ended = [node.wait(1500) for node in started]
    assert ended == [0, 0], printed(folder)[-5000:]
    # A process of its own, as those of the nodes: what other tests have left would move the last digits.
    command = [sys.executable, "script.py", str(parts_of_33), "alone"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_four_processes_on_two_nodes_end_with_what_one_computes(trained: Path, name: str) -> None:
    four = json.loads((trained / f"{name}.json").read_text())
    one = json.loads((trained / f"{name}-alone-0.json").read_text())
    assert four["world"] == _PROCESSES
    assert one["world"] == 1
    assert four["weights"] == one["weights"]
    # Each image counts once, though processes get as many.
    assert four["expected"] == one["expected"]
    assert four["expected"][0] == four["reference"] == one["reference"] == _VALIDATED
    # So few images leave most directions of the statistics to rounding, of which theirs differs.
    assert four["thresholds"] == pytest.approx(one["thresholds"], rel=0.02)
    assert four["range"] == pytest.approx(one["range"], rel=0.02)
    assert four["metrics"] == pytest.approx(one["metrics"], abs=0.01)
    others = [json.loads((trained / f"{name}-nodes-{rank}.json").read_text()) for rank in (1, 2, 3)]
    for other in others:
        assert other["thresholds"] == four["thresholds"]
        assert other["metrics"] == four["metrics"]


@pytest.mark.slow
@pytest.mark.parametrize("name", METHODS)
def test_all_processes_write_into_one_folder(trained: Path, name: str) -> None:
    runs = trained / "nodes" / name
    (data,) = runs.iterdir()
    (run,) = data.glob("v*")
    assert (data / "latest").resolve() == run.resolve()
    assert (run / "report.html").is_file()
    assert f"{_TESTED} test images" in printed(trained)


def _workers(node: subprocess.Popen) -> list[int]:
    """The processes that a node has started."""
    command = ["ps", "-o", "pid=", "--ppid", str(node.pid)]
    listed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return [int(line) for line in listed.stdout.split()]


@pytest.mark.slow
def test_killed_process_ends_all_and_the_run_goes_on_from_its_checkpoint(tmp_path: Path, parts_of_33: Path) -> None:
    model = ["--model", "rd_plugin.ReverseDistillation", "--model.backbone", "resnet18", "--model.pre_trained", "false"]
    model += ["--model.layers", "[layer2,layer3]", "--model.image_size", "64", "--trainer.accelerator", "cpu"]
    data = ["--data.root", parts_of_33, "--data.num_workers", "0", "--data.train_batch_size", "2"]
    several = ["--trainer.devices", "2", "--trainer.num_nodes", "2", "--trainer.strategy", "ddp"]
    program = ["-m", "rd_plugin", "fit", "--config", "folder", *model, *data, *several]
    program = [*map(str, program), "--trainer.check_val_every_n_epoch", "1"]
    with nodes(tmp_path, [*program, "--trainer.max_steps", "100000"]) as started:
        wait_until(lambda: list(tmp_path.glob("results/**/*.ckpt")), 600)
        os.kill(_workers(started[1])[0], signal.SIGKILL)
        ended = [node.wait(300) for node in started]
    assert all(ended)
    output = printed(tmp_path)
    told = re.findall(r"Process (\d) of 4 was stopped after step \d+: another one has ended\. The last .*", output)
    # Of the two on the other node at least.
    assert {"0", "1"} <= set(told), output[-5000:]
    assert "Traceback (most recent call last)" not in (tmp_path / "node0.txt").read_text().split("torch/distributed")[0]
    (checkpoint,) = tmp_path.glob("results/**/*.ckpt")
    step = int(re.findall(r"after step (\d+)", output)[0])
    # A few steps more than were done.
    arguments = ["--ckpt_path", str(checkpoint), "--trainer.max_steps", str(step + 2)]
    with nodes(tmp_path, [*program, *arguments]) as started:
        assert [node.wait(900) for node in started] == [0, 0], printed(tmp_path)[-5000:]
    assert "Trained. The checkpoint is" in printed(tmp_path)
