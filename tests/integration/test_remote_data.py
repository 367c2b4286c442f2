# SPDX-License-Identifier: Apache-2.0
"""A training whose images are at an address: of the disk by way of fsspec, and of an S3 server on this machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from anomalib.engine import Engine

from rd_plugin import PartsFolder, ReverseDistillation

SMALL = {"backbone": "test_resnet", "layers": ["layer1"], "pre_trained": False, "image_size": 32}
FOLDERS = {"normal_dir": "train/good", "abnormal_dir": "test/scratch", "mask_dir": "ground_truth/scratch"}


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket; credentials are in the environment."""
    pytest.importorskip("s3fs")
    server = pytest.importorskip("moto.server").ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    yield "s3://bucket"
    server.stop()


def _train(root: str, folder: Path) -> tuple[Engine, ReverseDistillation]:
    cache = {"cache_dir": folder / "cache", "cache_bytes": 10**5}
    data = PartsFolder(root, **FOLDERS, train_batch_size=4, num_workers=1, **cache)
    model = ReverseDistillation(**SMALL)
    limits = {"max_steps": 2, "logger": False, "enable_progress_bar": False}
    engine = Engine(accelerator="cpu", default_root_dir=folder, **limits)
    engine.train(model=model, datamodule=data)
    return engine, model


def _check(engine: Engine, model: ReverseDistillation, folder: Path) -> None:
    run = Path(engine.trainer.default_root_dir)
    assert {"image_AUROC", "pixel_AUROC", "pixel_AUPRO"} <= set(engine.trainer.callback_metrics)
    assert not model.post_processor.image_threshold.isnan()
    assert len(list(run.rglob("images/**/*.png"))) == 6
    # Each image and what is drawn over it, as WebP in the page.
    assert (run / "report.html").read_text().count("UklGR") == 12
    kept = list((folder / "cache").glob("*/*.png"))
    assert 0 < sum(file.stat().st_size for file in kept) <= 10**5


def test_training_reads_an_address(mvtec_root: Path, tmp_path: Path) -> None:
    _check(*_train(f"file://{mvtec_root}/tile", tmp_path), tmp_path)


@pytest.mark.slow
def test_training_reads_object_storage(mvtec_root: Path, tmp_path: Path, s3: str) -> None:
    import fsspec

    files = fsspec.filesystem("s3")
    files.mkdir(s3)
    files.put(str(mvtec_root / "tile"), f"{s3}/tile", recursive=True)
    _check(*_train(f"{s3}/tile", tmp_path), tmp_path)
