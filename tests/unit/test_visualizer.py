# SPDX-License-Identifier: Apache-2.0
"""Pictures of predictions."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from anomalib.data import ImageBatch, PredictDataset
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms.v2 import CenterCrop, Compose, Resize

from rd_plugin.components import Region, RegionMask
from rd_plugin.components.roi import OUTLINE
from rd_plugin.visualizer import PredictionVisualizer

from ..pictures import draw


def _image(path: Path, size: tuple[int, int] = (120, 60)) -> str:
    draw(path, (90, 120, 150), size)
    return str(path)


def _batch(files: list[str], score: float = 0.75, **known: object) -> ImageBatch:
    count = len(files)
    return ImageBatch(
        image=torch.rand(count, 3, 16, 16),
        anomaly_map=torch.rand(count, 16, 16),
        pred_mask=torch.rand(count, 16, 16) > 0.5,
        pred_score=torch.full((count,), score),
        pred_label=torch.full((count,), not score < 0.5),
        image_path=files,
        **known,
    )


def _bar(picture: Image.Image) -> tuple[int, ...]:
    return picture.getpixel((1, 1))


def test_picture_has_the_images_own_shape(tmp_path: Path) -> None:
    """Three fields side by side, each twice as wide as high, below a line of text."""
    visualizer = PredictionVisualizer(longest_side=200, fields=["image"])
    picture = visualizer.visualize(_batch([_image(tmp_path / "a.png")]))
    assert picture.width in range(3 * 200, 3 * 200 + 20)
    assert picture.height in range(100 + 20, 100 + 60)
    tall = visualizer.visualize(_batch([_image(tmp_path / "b.png", (30, 300))]))
    assert tall.height > 200


def test_verdict_and_score_are_drawn(tmp_path: Path) -> None:
    file = _image(tmp_path / "a.png")
    bars = {}
    pictures = {}
    visualizer = PredictionVisualizer(fields=["image"], overlay_fields=[("image", ["pred_mask"])])
    for name, score in (("anomalous", 0.75), ("other score", 0.8), ("normal", 0.25), ("error", np.nan)):
        pictures[name] = visualizer.visualize(_batch([file], score, gt_label=torch.tensor([True])))
        bars[name] = _bar(pictures[name])
    assert bars["anomalous"] == bars["other score"]
    assert len(set(bars.values())) == 3
    top = [np.asarray(pictures[name])[:30] for name in ("anomalous", "other score")]
    assert (top[0] != top[1]).any()
    # What was not predicted is not told.
    plain = visualizer.visualize(ImageBatch(image=torch.rand(1, 3, 16, 16), image_path=[file]))
    assert plain.height < pictures["normal"].height


def test_a_mistake_has_a_colour_of_its_own(tmp_path: Path) -> None:
    file = _image(tmp_path / "a.png")
    visualizer = PredictionVisualizer()
    bars = {
        (score > 0.5, truth): _bar(visualizer.visualize(_batch([file], score, gt_label=torch.tensor([truth]))))
        for score in (0.75, 0.25)
        for truth in (False, True)
    }
    # A missed defect and a false alarm.
    assert bars[False, True] == bars[True, False]
    assert len(set(bars.values())) == 3


def test_batches_and_images_without_files(tmp_path: Path) -> None:
    visualizer = PredictionVisualizer()
    pictures = visualizer.visualize(_batch([_image(tmp_path / f"{name}.png") for name in "ab"]))
    assert len(pictures) == 2
    batch = _batch([""])
    batch.image_path = None
    visualizer.on_test_batch_end(SimpleNamespace(default_root_dir=tmp_path), None, batch, batch, 3)
    assert (tmp_path / "images" / "0_00003_000.png").is_file()


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (["a/cam1/img.png", "b/cam1/img.png"], ["a/cam1/img.png", "b/cam1/img.png"]),
        (["good/0.png", "defect/0.png"], ["defect/0.png", "good/0.png"]),
        (["defect/0.png", "defect/1.png"], ["defect/0.png", "defect/1.png"]),
        (["0.jpg", "new/0.jpg"], ["0.jpg", "new/0.jpg"]),
    ],
)
def test_folders_are_kept(files: list[str], expected: list[str], tmp_path: Path) -> None:
    paths = [_image(tmp_path / "parts" / file) for file in files]
    visualizer = PredictionVisualizer(output_dir=tmp_path / "pictures")
    loader = DataLoader(PredictDataset(tmp_path / "parts"), collate_fn=ImageBatch.collate)
    trainer = SimpleNamespace(predict_dataloaders=loader)
    visualizer.on_predict_start(trainer, None)
    for index, path in enumerate(paths):
        visualizer.on_predict_batch_end(trainer, None, _batch([path]), _batch([path]), index)
    written = [path for path in (tmp_path / "pictures").rglob("*") if path.is_file()]
    assert sorted(path.relative_to(tmp_path / "pictures").as_posix() for path in written) == expected


def test_file_of_a_kind_that_cannot_be_written(tmp_path: Path) -> None:
    file = _image(tmp_path / "a.png")
    other = Path(file).rename(tmp_path / "frame.0001")
    visualizer = PredictionVisualizer(output_dir=tmp_path / "pictures")
    visualizer.on_test_start(SimpleNamespace(test_dataloaders=[torch.zeros(1)]), None)
    batch = _batch([str(other)])
    visualizer.on_test_batch_end(SimpleNamespace(), None, batch, batch, 0)
    assert [path.name for path in (tmp_path / "pictures").rglob("*.png")] == ["frame.0001.png"]


def test_picture_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write_half(_: Image.Image, path: Path, *__: object) -> None:
        path.write_bytes(b"half")
        msg = "disk full"
        raise OSError(msg)

    visualizer = PredictionVisualizer(output_dir=tmp_path / "pictures")
    batch = _batch([_image(tmp_path / "a.jpg")])
    visualizer.on_test_batch_end(SimpleNamespace(), None, batch, batch, 0)
    (file,) = (path for path in (tmp_path / "pictures").rglob("*") if path.is_file())
    before = file.read_bytes()
    monkeypatch.setattr(Image.Image, "save", write_half)
    visualizer.on_test_batch_end(SimpleNamespace(), None, batch, batch, 0)
    assert visualizer.failed
    assert [path for path in (tmp_path / "pictures").rglob("*") if path.is_file()] == [file]
    assert file.read_bytes() == before


def test_masks_are_where_they_were_found_when_the_model_crops(tmp_path: Path) -> None:
    """A mask of all that the model sees, which is the middle of the image, marks no more than that."""
    file = _image(tmp_path / "a.png", (200, 200))
    visualizer = PredictionVisualizer(200, fields=["pred_mask"], overlay_fields=[], text_config={"enable": False})
    model = SimpleNamespace(pre_processor=SimpleNamespace(transform=Compose([Resize((32, 32)), CenterCrop(16)])))
    visualizer.on_test_start(SimpleNamespace(test_dataloaders=[torch.zeros(1)]), model)
    mask = torch.ones(1, 16, 16, dtype=torch.bool)
    picture = visualizer.visualize(ImageBatch(image=torch.rand(1, 3, 16, 16), pred_mask=mask, image_path=[file]))
    drawn = np.asarray(picture.convert("RGB"))[-200:, :200].astype(int)
    marked = abs(drawn - drawn[0, 0]).sum(-1) > 0
    assert marked[60:140, 60:140].all()
    assert marked.mean() == pytest.approx(0.25, abs=0.05)


def test_side_out_of_range() -> None:
    with pytest.raises(ValueError, match="longest_side must be at least 1 pixel, got 0"):
        PredictionVisualizer(0)


def test_region_of_interest_is_outlined_in_each_field(tmp_path: Path) -> None:
    visualizer = PredictionVisualizer(longest_side=200, fields=["image"])
    batch = _batch([_image(tmp_path / "a.png", (200, 100))])
    region = Region(20, 10, (((0, 0), (10, 0), (10, 10), (0, 10)),))
    model = SimpleNamespace(pre_processor=None, model=SimpleNamespace(roi=RegionMask(region)))
    visualizer.on_test_start(SimpleNamespace(test_dataloaders=DataLoader([])), model)
    pixels = np.asarray(visualizer.visualize(batch))[-100:]
    outlined = (pixels[50] == OUTLINE).all(-1).nonzero()[0].tolist()
    assert outlined == [start + place for start in (0, 200, 400) for place in (0, 99)]
    visualizer.on_test_start(SimpleNamespace(test_dataloaders=DataLoader([])), SimpleNamespace(pre_processor=None))
    assert not (np.asarray(visualizer.visualize(batch)) == OUTLINE).all(-1).any()
