# SPDX-License-Identifier: Apache-2.0
"""A folder of one's own images, whatever is in it."""

import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
from anomalib import TaskType
from anomalib.data import ImageBatch
from PIL import Image

from rd_plugin import PartsFolder
from rd_plugin.data.check import check_datamodule
from rd_plugin.data.labels import content_digest, is_held_out

Fill = Callable[[str, int], None]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "Prüfteile 2024"


@pytest.fixture
def fill(root: Path) -> Fill:
    """Put images into a folder within the root; names have the number of the image in place of ``{}``."""

    def put(names: str, count: int) -> None:
        for index in range(count):
            path = root / names.format(index)
            path.parent.mkdir(parents=True, exist_ok=True)
            level = 255 if "mask" in names else 40 + index
            Image.fromarray(np.full((8, 12), level, np.uint8)).save(path)

    return put


def read(root: str | Path, **arguments: object) -> PartsFolder:
    data = PartsFolder(root, num_workers=0, **arguments)
    data.setup()
    return data


def split(root: Path, **arguments: object) -> dict[str, list[tuple[str, int, str]]]:
    """Path, label and mask of each split's samples, paths within the root."""
    data = read(root, **arguments)

    def within(path: str) -> str:
        return Path(path).relative_to(root).as_posix() if path else ""

    return {
        name: [
            (within(sample.image_path), sample.label_index, within(sample.mask_path))
            for sample in getattr(data, f"{name}_data").samples.itertuples()
        ]
        for name in ("train", "val", "test")
    }


def test_good_images_alone(root: Path, fill: Fill, caplog: pytest.LogCaptureFixture) -> None:
    fill("good/ä{}.png", 10)
    with caplog.at_level(logging.INFO):
        splits = split(root)
    assert {name: len(samples) for name, samples in splits.items()} == {"train": 3, "val": 5, "test": 2}
    everything = [sample for samples in splits.values() for sample in samples]
    assert sorted(everything) == [(f"good/ä{index}.png", 0, "") for index in range(10)]
    assert f"{root}: 10 good images, 0 defects, no masks" in caplog.text
    assert "  set thresholds (val)   |     5 |       0" in caplog.text


def test_split_hangs_on_the_seed_alone(root: Path, fill: Fill) -> None:
    fill("good/{}.png", 20)
    once, other = split(root), split(root, seed=1)
    assert split(root) == once
    assert other != once
    assert {name: len(samples) for name, samples in other.items()} == {"train": 6, "val": 10, "test": 4}
    given = split(root, val_split_ratio=0.2)
    assert {name: len(samples) for name, samples in given.items()} == {"train": 12, "val": 4, "test": 4}


@pytest.mark.parametrize(
    ("good", "validated"), [(4, 2), (10, 5), (197, 98), (198, 99), (300, 99), (495, 99), (600, 120)]
)
def test_thresholds_are_set_on_what_a_rate_of_one_percent_needs(root: Path, good: int, validated: int) -> None:
    """A fifth if that is enough, and never more than half."""
    data = PartsFolder(root)
    assert max(round(data._validation_share(good) * good), 2) == validated


def test_defects_are_tested_on_alone(root: Path, fill: Fill, caplog: pytest.LogCaptureFixture) -> None:
    fill("good/{}.png", 10)
    fill("defect/scratch/{}.png", 2)
    fill("defect/{}.jpg", 1)
    fill("other/{}.png", 3)
    with caplog.at_level(logging.INFO):
        splits = split(root)
    assert [label for name in ("train", "val") for _, label, _ in splits[name]] == [0] * 8
    assert [path for path, label, _ in splits["test"] if label] == [
        "defect/0.jpg",
        "defect/scratch/0.png",
        "defect/scratch/1.png",
    ]
    assert "  test                   |     2 |       3" in caplog.text
    assert "not used: other (3 images)" in caplog.text
    assert read(root).task == TaskType.CLASSIFICATION


def test_masks_at_the_same_places(root: Path, fill: Fill) -> None:
    fill("good/{}.png", 5)
    fill("defect/scratch/{}.png", 2)
    fill("defect/dent/{}.png", 1)
    fill("mask/scratch/{}_mask.png", 2)
    fill("mask/dent/{}.bmp", 1)
    found = {path: mask for path, label, mask in split(root)["test"] if label}
    assert found == {
        "defect/scratch/0.png": "mask/scratch/0_mask.png",
        "defect/scratch/1.png": "mask/scratch/1_mask.png",
        "defect/dent/0.png": "mask/dent/0.bmp",
    }
    data = read(root, eval_batch_size=9)
    assert data.task == TaskType.SEGMENTATION
    batch = next(iter(data.test_dataloader()))
    assert isinstance(batch, ImageBatch)
    # Good images have an empty mask, defects the one that is drawn.
    assert [bool(mask.any()) for mask in batch.gt_mask] == batch.gt_label.tolist()


def test_several_folders_of_defects(root: Path, fill: Fill) -> None:
    fill("good/{}.png", 5)
    for kind in ("scratch", "dent"):
        fill(f"{kind}/{{}}.png", 2)
        fill(f"mask/{kind}/{{}}.png", 2)
    expected = {f"{kind}/{index}.png": f"mask/{kind}/{index}.png" for kind in ("scratch", "dent") for index in range(2)}
    for masks in (None, ["mask/scratch", "mask/dent"]):
        test = split(root, abnormal_dir=["scratch", "dent"], mask_dir=masks)["test"]
        assert {path: mask for path, label, mask in test if label} == expected


def test_one_mask_for_two_defects(root: Path, fill: Fill) -> None:
    fill("good/{}.png", 5)
    fill("scratch/{}.png", 1)
    fill("dent/{}.png", 1)
    fill("mask/{}.png", 1)
    with pytest.raises(ValueError, match=r"mask/0.png' would be the mask of several defects"):
        split(root, abnormal_dir=["scratch", "dent"])


def test_masks_without_defects_and_hidden_files_are_left_alone(root: Path, fill: Fill) -> None:
    fill("good/{}.png", 5)
    fill("good/.cache/{}.png", 5)
    fill("mask/{}.png", 2)
    assert sum(map(len, split(root).values())) == 5


@pytest.mark.parametrize(("count", "enough"), [(3, False), (4, True)])
def test_fewest_images(root: Path, fill: Fill, count: int, enough: bool) -> None:
    fill("good/{}.png", count)
    if enough:
        assert {name: len(samples) for name, samples in split(root).items()} == {"train": 1, "val": 2, "test": 1}
        return
    with pytest.raises(ValueError, match=r"has 3 good images; at least 4 are needed\."):
        split(root)


def test_what_is_missing_is_named(root: Path, fill: Fill) -> None:
    with pytest.raises(FileNotFoundError, match=r"data.root '.*Prüfteile 2024' is not a folder\."):
        split(root)
    fill("goods/{}.png", 5)
    with pytest.raises(FileNotFoundError, match=r"data.normal_dir: there is no folder '.*good'; .* are: 'goods'\."):
        split(root)
    with pytest.raises(FileNotFoundError, match=r"data.abnormal_dir: there is no folder '.*dent'"):
        split(root, normal_dir="goods", abnormal_dir="dent")
    fill("defect/{}.png", 2)
    fill("mask/{}.png", 1)
    with pytest.raises(ValueError, match=r"data.mask_dir: 1 of 2 defects have no mask, such as '.*defect/1.png'"):
        split(root, normal_dir="goods")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"val_split_ratio": 0.0}, r"val_split_ratio must be a fraction between 0 and 1, got 0\.0"),
        ({"val_split_ratio": "some"}, r"val_split_ratio must be a fraction between 0 and 1, got 'some'"),
        ({"test_split_ratio": 1.5}, r"test_split_ratio must be"),
        ({"val_split_ratio": 0.5, "test_split_ratio": 0.5}, r"val_split_ratio \+ test_split_ratio must be less than 1"),
    ],
)
def test_shares_out_of_range(arguments: dict, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        PartsFolder("parts", **arguments)


def test_name_is_that_of_the_folder(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root.mkdir()
    monkeypatch.chdir(root)
    assert PartsFolder(".").name == "Prüfteile 2024"
    assert PartsFolder(".", name="parts").name == "parts"


def _mark(root: Path, marks: dict[str, str]) -> Path:
    file = root.parent / "labels.csv"
    file.write_text("path,label\n" + "".join(f"{root / name},{label}\n" for name, label in marks.items()))
    return file


def _sides(splits: dict[str, list[tuple[str, int, str]]]) -> dict[str, tuple[str, int]]:
    return {name: (side, label) for side, samples in splits.items() for name, label, _ in samples}


def test_marked_images_are_on_the_side_that_they_were_on_and_defects_are_never_learned_from(
    root: Path, fill: Fill
) -> None:
    fill("good/{}.png", 20)
    for number in range(3):
        (root / "defect").mkdir(exist_ok=True)
        Image.fromarray(np.full((8, 12), number, np.uint8)).save(root / "defect" / f"d{number}.png")
    before = _sides(split(root))
    # One of the new images is a copy of one in the folder.
    (root / "new").mkdir()
    for number in range(6):
        pixels = np.full((8, 12), 200 + number, np.uint8)
        Image.fromarray(pixels).save(root / "new" / f"{number}.png")
    (root / "new" / "copy.png").write_bytes((root / "good" / "3.png").read_bytes())
    marks = {f"good/{number}.png": "good" for number in range(5, 20)}
    marks |= {"good/1.png": "defect", "good/2.png": "unclear", "new/copy.png": "defect", "new/5.png": "defect"}
    marks |= {f"new/{number}.png": "good" for number in range(5)} | {"defect/d0.png": "good"}
    after = _sides(split(root, labels=_mark(root, marks)))
    kept = {name: side for name, side in before.items() if name not in {f"good/{number}.png" for number in (1, 2, 3)}}
    assert {name: after[name] for name in kept} == kept | {"defect/d0.png": ("test", 0)}
    assert "good/2.png" not in after
    assert "good/3.png" not in after
    for name in ("good/1.png", "new/copy.png", "new/5.png"):
        assert after[name] == ("test", 1)
    for number in range(5):
        name = f"new/{number}.png"
        assert after[name] == ("val" if is_held_out(content_digest(root / name)) else "train", 0)


def test_marked_defects_are_left_out_where_defects_have_masks(root: Path, fill: Fill) -> None:
    fill("good/{}.png", 10)
    fill("defect/{}.png", 2)
    fill("mask/{}.png", 2)
    after = _sides(split(root, labels=_mark(root, {"good/9.png": "defect"})))
    assert "good/9.png" not in after
    assert len(after) == 11


class TestManyParts:
    @pytest.fixture
    def parts(self, fill: Fill, root: Path) -> Path:
        for name, good in (("cap", 10), ("Schraube ü", 20)):
            fill(f"{name}/good/{{}}.png", good)
            fill(f"{name}/defect/scratch/{{}}.png", 3)
        return root

    def test_each_is_split_by_itself(self, parts: Path) -> None:
        data = read(parts)
        assert data.parts == ("Schraube ü", "cap")
        for name, train in (("cap", 3), ("Schraube ü", 6)):
            alone = split(parts / name)
            assert len(alone["train"]) == train
            for kind in ("train", "val", "test"):
                samples = getattr(data, f"{kind}_data").samples
                mine = samples[samples["part"] == name]
                found = {
                    (Path(path).relative_to(parts / name).as_posix(), label)
                    for path, label in zip(mine["image_path"], mine["label_index"], strict=True)
                }
                assert found == {(path, label) for path, label, _ in alone[kind]}

    def test_the_table_lists_them(self, parts: Path, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.INFO):
            split(parts)
        lines = caplog.text.splitlines()
        assert any("2 parts, 30 good images, 6 defects" in line for line in lines)
        assert any(line.split() == ["cap", "|", "3", "|", "5", "|", "2", "|", "3"] for line in lines)

    def test_a_part_without_enough_good_images_is_named(self, parts: Path, fill: Fill) -> None:
        fill("disc/defect/{}.png", 2)
        fill("ring/good/{}.png", 2)
        (parts / "empty").mkdir()
        with pytest.raises(
            ValueError, match=r"has 4 parts, of which 2 cannot be used.*disc: .*good.*ring: .*at least 4"
        ):
            split(parts)

    def test_some_with_masks_and_some_without(self, parts: Path, fill: Fill) -> None:
        fill("cap/mask/scratch/{}.png", 3)
        with pytest.raises(ValueError, match=r"some parts have masks, but '.*Schraube ü.*' has none"):
            split(parts)

    def test_a_folder_of_defects_named_after_another_part(self, parts: Path, fill: Fill) -> None:
        fill("cap/defect/cap/{}.png", 1)
        split(parts)
        fill("cap/defect/Schraube ü/{}.png", 1)
        with pytest.raises(ValueError, match="has a folder named after part 'Schraube ü'; rename it"):
            split(parts)

    def test_labels_are_for_one_part(self, parts: Path) -> None:
        with pytest.raises(ValueError, match=r"labels 'labels.csv' is for a folder of one part; .* has several"):
            split(parts, labels="labels.csv")

    def test_a_folder_of_one_part_has_none(self, parts: Path) -> None:
        assert PartsFolder(parts / "cap").parts == ()


class TestAtAnAddress:
    """fsspec's memory takes the place of object storage."""

    @pytest.fixture
    def address(self, root: Path, fill: Fill) -> Iterator[str]:
        """Ten good images and two defects with masks, on the disk and at the address."""
        for names, count in (("good/{}.png", 10), ("defect/{}.png", 2), ("mask/{}.png", 2)):
            fill(names, count)
        address = "memory://bucket/Prüfteile 2024"
        files = fsspec.filesystem("memory")
        files.put(str(root), address, recursive=True)
        yield address
        files.rm(address, recursive=True)

    @pytest.fixture
    def cache(self, tmp_path: Path) -> Path:
        return tmp_path / "cache"

    def test_images_and_splits_are_those_of_the_disk(self, address: str, root: Path, cache: Path) -> None:
        near, far = read(root), read(address, cache_dir=cache)
        assert near.name == far.name
        for split in ("train", "val", "test"):
            ours, theirs = (getattr(data, f"{split}_data") for data in (near, far))
            assert ours.task == theirs.task
            assert len(ours) == len(theirs)
            for here, there in zip(ours, theirs, strict=True):
                assert there.image_path == f"{address}/{Path(here.image_path).relative_to(root).as_posix()}"
                assert (there.image == here.image).all()
                assert (there.gt_mask == here.gt_mask).all()

    @pytest.mark.parametrize("images", [0, 1, 4, 12])
    def test_cache_is_bounded_and_holds_training_images_first(self, address: str, cache: Path, images: int) -> None:
        size = sum(facts["size"] for facts in fsspec.filesystem("memory").find(address, detail=True).values()) / 14
        data = read(address, cache_dir=cache, cache_bytes=int(size * (images + 0.5)))
        for _ in range(2):
            for split in (data.train_data, data.val_data, data.test_data):
                list(split)
            kept = list(cache.glob("*/*"))
            assert len(kept) == images
            assert sum(file.stat().st_size for file in kept) <= data.cache_bytes
        assert sum(data.train_data.samples["kept"] != "") == min(images, len(data.train_data))

    def test_kept_images_are_not_read_again(self, address: str, cache: Path) -> None:
        data = read(address, cache_dir=cache)
        first = [item.image for item in data.train_data]
        files = fsspec.filesystem("memory")
        files.rm(f"{address}/good", recursive=True)
        assert all((image == item.image).all() for image, item in zip(first, data.train_data, strict=True))

    def test_only_copies_that_are_not_of_the_data_any_more_are_deleted(self, address: str, cache: Path) -> None:
        data = read(address, cache_dir=cache)
        list(data.train_data)
        (folder,) = cache.iterdir()
        before = set(folder.iterdir())
        # Somebody's own, and the copies of other data.
        others = [cache / "photo.png", cache / "0123" / "4567.png"]
        for file in others:
            file.parent.mkdir(exist_ok=True)
            file.touch()
        changed = data.train_data[0].image_path
        fsspec.filesystem("memory").pipe(changed, fsspec.filesystem("memory").cat(data.train_data[1].image_path))
        PartsFolder(address, cache_dir=cache).setup()
        assert set(folder.iterdir()) < before
        assert len(before) - len(set(folder.iterdir())) == 1
        assert all(file.exists() for file in others)

    def test_several_parts(self, root: Path, fill: Fill, tmp_path: Path, cache: Path) -> None:
        for part in ("cap", "screw"):
            fill(f"{part}/good/{{}}.png", 8)
        address = f"memory://{tmp_path.name}/several"
        fsspec.filesystem("memory").put(str(root), address, recursive=True)
        data = read(address, cache_dir=cache)
        assert data.parts == ("cap", "screw")
        assert set(data.val_data.samples["part"]) == {"cap", "screw"}
        assert data.train_data[0].image_path.startswith(f"{address}/cap/good/")

    def test_what_cannot_be_used_is_named(self, address: str, cache: Path) -> None:
        with pytest.raises(FileNotFoundError, match=r"data.root 'memory://nowhere/parts' is not a folder"):
            PartsFolder("memory://nowhere/parts", cache_dir=cache).setup()
        with pytest.raises(FileNotFoundError, match=r"normal_dir: there is no folder .*: 'defect', 'good', 'mask'"):
            PartsFolder(address, normal_dir="fine", cache_dir=cache).setup()
        with pytest.raises(ValueError, match=r"labels 'labels.csv' is for a folder on a disk"):
            PartsFolder(address, labels="labels.csv", cache_dir=cache).setup()
        with pytest.raises(ValueError, match="cache_bytes must be 0 or more, got -1"):
            PartsFolder(address, cache_bytes=-1)

    def test_data_check_reads_it(self, address: str, cache: Path) -> None:
        fsspec.filesystem("memory").pipe(f"{address}/good/3.png", b"damaged")
        data = read(address, cache_dir=cache)
        (problem,) = [problem for problem in check_datamodule(data) if "not an image" in problem.message]
        assert problem.subject == f"{address}/good/3.png"
