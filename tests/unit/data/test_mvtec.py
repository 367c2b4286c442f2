# SPDX-License-Identifier: Apache-2.0
import shutil
from pathlib import Path

import pytest
from anomalib.data import ImageBatch, MVTecAD
from anomalib.data.datasets import MVTecADDataset
from anomalib.data.utils import Split
from jsonargparse import ArgumentParser
from PIL import Image

from rd_plugin import MVTec
from rd_plugin.data.check import set_up
from rd_plugin.data.mvtec import MVTecDataset


def _defaults(module: type) -> dict:
    """Arguments that the command line offers, with their defaults."""
    parser = ArgumentParser()
    parser.add_class_arguments(module, "data")
    return parser.get_defaults().as_dict()["data"]


def test_command_line_offers_anomalibs_arguments_with_the_papers_batch_size() -> None:
    assert _defaults(MVTec) == {**_defaults(MVTecAD), "train_batch_size": 16}


def read(root: Path, category: str | None = "tile", **arguments: object) -> MVTec:
    data = MVTec(root, category, num_workers=0, **arguments)
    data.setup()
    return data


def test_reads_its_layout(mvtec_root: Path) -> None:
    module = read(mvtec_root)
    assert (len(module.train_data), len(module.val_data), len(module.test_data)) == (12, 12, 12)
    batch = next(iter(module.train_dataloader()))
    assert isinstance(batch, ImageBatch)
    assert batch.image.shape == (12, 3, 96, 96)
    assert not batch.gt_label.any()
    test = [item for batch in module.test_dataloader() for item in batch]
    assert sum(int(item.gt_label) for item in test) == 8
    assert all(bool(item.gt_mask.any()) == bool(item.gt_label) for item in test)


def save_as(image: Path, suffix: str) -> Path:
    """Replace an image by itself in another format."""
    Image.open(image).save(image.with_suffix(suffix))
    image.unlink()
    return image.with_suffix(suffix)


@pytest.mark.parametrize("split", [Split.TRAIN, Split.TEST])
def test_reads_what_anomalibs_own_reads(mvtec_root: Path, split: Split) -> None:
    ours = MVTecDataset(mvtec_root, "tile", split).samples
    theirs = MVTecADDataset(mvtec_root, "tile", split=split).samples.fillna("")
    assert ours.to_dict("records") == theirs.to_dict("records")
    assert ours.attrs == theirs.attrs


@pytest.mark.parametrize("suffixes", [(".jpg",), (".png", ".jpg", ".BMP", ".tif", ".webp")])
def test_images_of_every_kind_are_read_with_their_masks(root: Path, suffixes: tuple[str, ...]) -> None:
    for index, image in enumerate(sorted(root.glob("tile/t*/*/*.png"))):
        if (suffix := suffixes[index % len(suffixes)]) != ".png":
            save_as(image, suffix)
    data = read(root)
    assert (len(data.train_data), len(data.test_data)) == (12, 12)
    defects = data.test_data.samples[data.test_data.samples["label_index"] == 1]
    assert [Path(path).stem + "_mask" for path in defects["image_path"]] == [
        Path(path).stem for path in defects["mask_path"]
    ]
    assert all(
        Path(path).parent.name == label for path, label in zip(defects["mask_path"], defects["label"], strict=True)
    )


def test_names_that_sort_otherwise_than_their_masks(root: Path) -> None:
    (root / "tile/test/stain/000.png").rename(root / "tile/test/stain/a.png")
    (root / "tile/test/stain/001.png").rename(root / "tile/test/stain/a_b.png")
    (root / "tile/ground_truth/stain/000_mask.png").rename(root / "tile/ground_truth/stain/a_mask.png")
    (root / "tile/ground_truth/stain/001_mask.png").rename(root / "tile/ground_truth/stain/a_b.png")
    samples = MVTecDataset(root, "tile", Split.TEST).samples.set_index("image_path")["mask_path"]
    assert samples[str(root / "tile/test/stain/a.png")] == str(root / "tile/ground_truth/stain/a_mask.png")
    assert samples[str(root / "tile/test/stain/a_b.png")] == str(root / "tile/ground_truth/stain/a_b.png")


def test_second_mask_of_an_image_is_named(root: Path) -> None:
    mask = root / "tile/ground_truth/stain/000_mask.png"
    shutil.copy(mask, mask.with_name("000.png"))
    with pytest.raises(ValueError, match=r"000_mask\.png \| the image called 000 has another mask, 000\.png"):
        set_up(MVTec(root, "tile"))


def test_without_masks_it_is_classification(root: Path) -> None:
    shutil.rmtree(root / "tile/ground_truth")
    data = read(root)
    assert data.task == "classification"
    assert sum(int(item.gt_label) for batch in data.test_dataloader() for item in batch) == 8


def test_without_test_images_some_of_the_training_set_are_tested_on(root: Path) -> None:
    shutil.rmtree(root / "tile/test")
    shutil.rmtree(root / "tile/ground_truth")
    data = read(root, test_split_ratio=0.25, seed=0)
    assert (len(data.train_data), len(data.test_data)) == (9, 3)


def test_links_are_followed(root: Path, tmp_path: Path) -> None:
    """anomalib's own leaves out what a link leads to outside of the root."""
    image = root / "tile/train/good/000.png"
    image.rename(tmp_path / "elsewhere.png")
    image.symlink_to(tmp_path / "elsewhere.png")
    assert str(image) in set(MVTecDataset(root, "tile", Split.TRAIN).samples["image_path"])
    (tmp_path / "elsewhere.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"train/good/000\.png' is a broken link\."):
        set_up(MVTec(root, "tile"))


def test_all_categories(root: Path) -> None:
    shutil.copytree(root / "tile", root / "grid")
    (root / "notes").mkdir()
    data = read(root, None)
    assert (data.parts, data.category, data.task) == (("grid", "tile"), "", "segmentation")
    assert data.train_data.samples["part"].value_counts().to_dict() == {"grid": 12, "tile": 12}
    assert MVTec(root, "tile").parts == ()
    shutil.rmtree(root / "grid/ground_truth")
    with pytest.raises(ValueError, match="some categories have masks, but not grid"):
        read(root, None)


def test_no_category_in_the_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="has no category: there is no folder like bottle/train/good"):
        read(tmp_path, None)
