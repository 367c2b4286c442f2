# SPDX-License-Identifier: Apache-2.0
"""Models that compare with their training images: what they know of them, and where it goes."""

from pathlib import Path

import numpy as np
import openvino
import pytest
import torch
from anomalib.data.utils import read_image
from anomalib.deploy import CompressionType

from rd_plugin import ExpertReverseDistillation, ReverseDistillation
from rd_plugin.components import MahalanobisDeviation
from rd_plugin.export.statistics import distances

from .conftest import (
    BACKBONE,
    SIZE,
    Trained,
    auroc,
    cpu_engine,
    data_config,
    export,
    one_method,
    run_cli,
    run_openvino,
    small_model,
    tile_data,
    write_config,
)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory, mvtec_root: Path) -> Path:
    """Checkpoint of a run on the command line, with a validation in its middle and one at its end."""
    folder = tmp_path_factory.mktemp("mahalanobis")
    model = small_model(ReverseDistillation, deviation="mahalanobis")
    config = write_config(folder / "config.yaml", model=model, data=data_config(mvtec_root), trainer={"max_epochs": 8})
    run_cli(folder, "train", "--config", config)
    (checkpoint,) = folder.glob("results/ReverseDistillation/MVTec/tile/v0/weights/lightning/*.ckpt")
    return checkpoint


@pytest.fixture(scope="module")
def model(fitted: Path) -> ReverseDistillation:
    return ReverseDistillation.load_from_checkpoint(fitted, visualizer=False).eval()


@torch.inference_mode()
def _known_of_training_images(model: ReverseDistillation, root: Path) -> MahalanobisDeviation:
    files = sorted(root.glob("tile/train/good/*.png"))
    images = model.pre_processor.transform(torch.stack([read_image(file, as_tensor=True) for file in files]))
    teacher, student = model.model.distill(images)
    deviation = MahalanobisDeviation(feature.shape[1] for feature in teacher)
    deviation.update(teacher, student)
    deviation.compute()
    return deviation


def test_checkpoint_knows_the_training_images_as_its_weights_see_them(
    model: ReverseDistillation, mvtec_root: Path
) -> None:
    expected = _known_of_training_images(model, mvtec_root)
    for scale, wanted in zip(model.model.deviation.scales, expected.scales, strict=True):
        torch.testing.assert_close(scale.mean, wanted.mean, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(scale.whitening, wanted.whitening, rtol=1e-2, atol=1e-2 * wanted.whitening.std())


def test_defects_are_found(model: ReverseDistillation, mvtec_root: Path, tmp_path: Path) -> None:
    (metrics,) = cpu_engine(tmp_path).test(model=model, datamodule=tile_data(mvtec_root))
    assert metrics["image_AUROC"] >= 0.9
    assert metrics["pixel_AUROC"] >= 0.9


@pytest.mark.slow
def test_openvino_agrees_with_eager(model: ReverseDistillation, images: torch.Tensor, tmp_path: Path) -> None:
    path = export(model, tmp_path)
    with torch.inference_mode():
        expected = model(images)
    actual = run_openvino(path, images.numpy())
    np.testing.assert_allclose(actual["anomaly_map"], expected.anomaly_map, rtol=0, atol=1e-3)
    np.testing.assert_allclose(actual["pred_score"], expected.pred_score, rtol=0, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("compression", [CompressionType.INT8_PTQ, CompressionType.INT8_ACQ])
def test_int8_keeps_the_order_of_scores(
    model: ReverseDistillation,
    images: torch.Tensor,
    files: list[Path],
    mvtec_root: Path,
    tmp_path: Path,
    compression: CompressionType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Statistics of twelve images, fitted again, take scores out of the range that normalization cuts them off at.
    monkeypatch.setattr(model.post_processor, "enable_normalization", False)
    path = export(model, tmp_path, compression_type=compression, datamodule=tile_data(mvtec_root))
    if compression == CompressionType.INT8_PTQ:
        # Compared with training images as the quantized networks see them.
        found = distances(openvino.Core().read_model(path))
        for (centring, _), scale in zip(found, model.model.deviation.scales, strict=True):
            mean = -centring.input_value(1).get_node().get_data()
            assert 0 < np.abs(mean - scale.mean.numpy()).mean() < np.abs(mean).mean()
    scores = run_openvino(path, images.numpy())["pred_score"]
    with torch.inference_mode():
        expected = model(images).pred_score
    # torchmetrics takes what is beyond 1 for logits.
    found, wanted = (auroc(each / each.max(), files) for each in (scores, expected))
    assert found == pytest.approx(wanted, abs=0.05)


def test_run_without_validation_leaves_a_checkpoint_that_predicts(tmp_path: Path, mvtec_root: Path) -> None:
    model = ExpertReverseDistillation(
        BACKBONE,
        pre_trained=False,
        train_teacher=False,
        deviation="mahalanobis",
        pre_processor=ExpertReverseDistillation.configure_pre_processor((SIZE, SIZE)),
        visualizer=False,
    )
    engine = cpu_engine(tmp_path, max_epochs=1, limit_val_batches=0)
    engine.fit(model, datamodule=tile_data(mvtec_root))
    assert model.model.training
    loaded = ExpertReverseDistillation.load_from_checkpoint(engine.trainer.checkpoint_callback.best_model_path).eval()
    with torch.inference_mode():
        assert loaded(torch.rand(1, 3, SIZE, SIZE)).anomaly_map.isfinite().all()


@one_method
def test_checkpoint_of_another_deviation_is_refused(fitted: Path, trained: Trained) -> None:
    with pytest.raises(ValueError, match="deviation 'mahalanobis' in the checkpoint, 'cosine' in the model"):
        ReverseDistillation.load_from_checkpoint(fitted, deviation="cosine")
    with pytest.raises(ValueError, match="deviation 'cosine' in the checkpoint, 'mahalanobis' in the model"):
        trained.method.load_from_checkpoint(trained.checkpoint, deviation="mahalanobis")
