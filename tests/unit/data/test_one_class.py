# SPDX-License-Identifier: Apache-2.0
import pickle
import shutil
import struct
from collections import Counter
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pandas as pd
import pytest
import torch
import torchvision
from anomalib.data import ImageBatch
from jsonargparse import ArgumentParser
from PIL import Image

from rd_plugin import OneClass
from rd_plugin.data.check import check_datamodule

CLASSES = ("cat", "dog", "owl")
TRAIN, TEST = 10, 5
SPLITS = ("train", "val", "test")
# Labels of the small copies of torchvision's data sets: each class three times to train on, once to test on.
LABELS = {"train": [*range(10)] * 3, "test": [*reversed(range(10))]}


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An image folder of three classes; owls are grey."""
    rng = np.random.default_rng(0)
    root = tmp_path_factory.mktemp("classes") / "animals"
    for split, count in (("train", TRAIN), ("test", TEST)):
        for name in CLASSES:
            (root / split / name).mkdir(parents=True)
            for index in range(count):
                pixels = rng.integers(256, size=(12, 10) if name == "owl" else (12, 10, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{index}.png")
    return root


@pytest.fixture
def folder(shared_folder: Path, tmp_path: Path) -> Path:
    """A copy of it that may be changed."""
    return shutil.copytree(shared_folder, tmp_path / "animals")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_args: object, **_kwargs: object) -> None:
        msg = "no network"
        raise URLError(msg)

    for module in ("mnist", "cifar"):
        monkeypatch.setattr(f"torchvision.datasets.{module}.download_and_extract_archive", fail)


def pixels(split: str, shape: tuple[int, ...]) -> np.ndarray:
    """Images of a small copy, one for each of its labels."""
    seed = list(LABELS).index(split)
    return np.random.default_rng(seed).integers(256, size=(len(LABELS[split]), *shape), dtype=np.uint8)


@pytest.fixture(params=["CIFAR10", "MNIST", "FashionMNIST"])
def source(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None) -> str:
    """Name of a data set of torchvision, of which a small copy is in ``tmp_path`` in the publisher's format."""
    del no_network
    if request.param == "CIFAR10":
        write_cifar(tmp_path / "cifar-10-batches-py")
        # A copy has other checksums.
        monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, *_: Path(path).is_file())
    else:
        write_mnist(tmp_path / request.param / "raw")
    return request.param


def write_mnist(folder: Path) -> None:
    folder.mkdir(parents=True)
    for split, prefix in (("train", "train"), ("test", "t10k")):
        images, labels = pixels(split, (28, 28)), bytes(LABELS[split])
        header = struct.pack(">IIII", 2051, *images.shape)
        (folder / f"{prefix}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        (folder / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, len(labels)) + labels)


def write_cifar(folder: Path) -> None:
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    folder.mkdir()
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": list(names)}))
    batches = {f"data_batch_{part + 1}": ("train", slice(6 * part, 6 * part + 6)) for part in range(5)}
    for name, (split, part) in {**batches, "test_batch": ("test", slice(None))}.items():
        entry = {"data": pixels(split, (3, 32, 32)).reshape(-1, 3072)[part], "labels": LABELS[split][part]}
        (folder / name).write_bytes(pickle.dumps(entry))


def set_up(source: str | Path, normal_class: int | str = "cat", **arguments: object) -> OneClass:
    module = OneClass(source, normal_class, **{"num_workers": 0, **arguments})
    module.prepare_data()
    module.setup()
    return module


def samples(module: OneClass) -> dict[str, pd.DataFrame]:
    return {split: getattr(module, f"{split}_data").samples for split in SPLITS if hasattr(module, f"{split}_data")}


def classes(frame: pd.DataFrame) -> Counter[str]:
    return Counter(Path(path).parent.name for path in frame["image_path"])


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize("by_index", [False, True])
def test_one_class_is_normal_and_all_others_are_anomalous(shared_folder: Path, name: str, by_index: bool) -> None:
    frames = samples(set_up(shared_folder, CLASSES.index(name) if by_index else name))
    assert classes(frames["train"]) + classes(frames["val"]) == {name: TRAIN}
    assert classes(frames["test"]) == dict.fromkeys(CLASSES, TEST)
    for frame in frames.values():
        assert frame["label_index"].tolist() == [int(Path(path).parent.name != name) for path in frame["image_path"]]


def test_no_test_image_is_trained_or_validated_on(shared_folder: Path) -> None:
    frames = samples(set_up(shared_folder))
    every = pd.concat(frames.values())["image_path"]
    assert every.is_unique
    split_of = {split: {Path(path).parts[-3] for path in frame["image_path"]} for split, frame in frames.items()}
    assert split_of == {"train": {"train"}, "val": {"train"}, "test": {"test"}}


@pytest.mark.parametrize(
    ("mode", "train", "val", "test"),
    [
        ("none", TRAIN, None, 3 * TEST),
        ("from_train", TRAIN - 2, 2, 3 * TEST),
        ("from_test", TRAIN, 3, 3 * TEST - 3),
        ("same_as_test", TRAIN, 3 * TEST, 3 * TEST),
    ],
)
def test_validation_split(shared_folder: Path, mode: str, train: int, val: int | None, test: int) -> None:
    module = set_up(shared_folder, val_split_mode=mode, val_split_ratio=0.2)
    assert (len(module.train_data), len(module.test_data)) == (train, test)
    assert sum(len(batch.image) for batch in module.val_dataloader()) == (val or 0)
    assert hasattr(module, "val_data") == (val is not None)


def test_seed_decides_the_validation_split(shared_folder: Path) -> None:
    first, again, other = (
        set(samples(set_up(shared_folder, val_split_ratio=0.5, seed=seed))["val"]["image_path"]) for seed in (1, 1, 2)
    )
    assert first == again != other


def test_batches_are_typed_and_grey_becomes_three_channels(shared_folder: Path) -> None:
    module = set_up(shared_folder, "owl", train_batch_size=3, eval_batch_size=5)
    train, test = next(iter(module.train_dataloader())), next(iter(module.test_dataloader()))
    assert isinstance(train, ImageBatch)
    assert train.image.shape == (3, 3, 12, 10)
    assert torch.equal(train.image[:, 0], train.image[:, 2])
    assert train.gt_label.tolist() == [False] * 3
    assert test.image.shape == (5, 3, 12, 10)
    assert test.gt_label.all()
    assert test.gt_mask is None
    assert module.task == "classification"


def test_training_split_needs_the_normal_class_only(folder: Path) -> None:
    for name in ("dog", "owl"):
        shutil.rmtree(folder / "train" / name)
    assert len(set_up(folder, val_split_mode="none").train_data) == TRAIN


def test_class_called_by_a_number_is_meant_before_an_index(folder: Path) -> None:
    for split in ("train", "test"):
        (folder / split / "dog").rename(folder / split / "2")
    assert classes(samples(set_up(folder, 2))["train"]).keys() == {"2"}


@pytest.mark.parametrize("label", [0, 3, 9])
def test_labels_and_pixels_are_torchvisions(source: str, tmp_path: Path, label: int) -> None:
    module = set_up(source, label, root=tmp_path, val_split_mode="none")
    shape = (3, 32, 32) if source == "CIFAR10" else (28, 28)
    for split, dataset in (("train", module.train_data), ("test", module.test_data)):
        expected = {
            np.broadcast_to(image, (3, *shape[-2:])).tobytes(): int(known != label)
            for image, known in zip(pixels(split, shape), LABELS[split], strict=True)
            if split == "test" or known == label
        }
        found = {(255 * item.image).round().byte().numpy().tobytes(): int(item.gt_label) for item in dataset}
        assert found == expected


def test_torchvisions_names_of_classes(source: str, tmp_path: Path) -> None:
    kind = getattr(torchvision.datasets, source)
    for label, name in enumerate(kind(tmp_path).classes):
        frames = samples(set_up(source, name, root=tmp_path))
        assert classes(frames["train"]) == classes(samples(set_up(source, label, root=tmp_path))["train"])
        assert len(classes(frames["test"])) == 10


def test_images_are_written_once(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = set_up(source, 0, root=tmp_path)
    monkeypatch.setattr("rd_plugin.data.one_class._write_images", pytest.fail)
    second = set_up(source, 0, root=tmp_path)
    assert first.train_data.samples.equals(second.train_data.samples)


def test_images_are_written_whole_or_not_at_all(
    source: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    save = Image.Image.save

    def fill_up(image: Image.Image, path: Path) -> None:
        if path.name == "00007.png":
            raise OSError(28, "No space left on device", str(path))
        save(image, path)

    with monkeypatch.context() as patched:
        patched.setattr(Image.Image, "save", fill_up)
        with pytest.raises(OSError, match="No space left on device"):
            set_up(source, 0, root=tmp_path)
    assert not list((tmp_path / source).glob("*images*"))
    set_up(source, 0, root=tmp_path)
    assert [path.name for path in (tmp_path / source).glob("*images*")] == ["images"]


@pytest.mark.parametrize("source", ["MNIST"], indirect=True)
def test_folder_that_cannot_be_made(source: str, tmp_path: Path) -> None:
    (tmp_path / source / "images").write_text("a file in its place")
    with pytest.raises(NotADirectoryError):
        OneClass(source, root=tmp_path).prepare_data()


def test_another_run_that_writes_the_same_images_does_no_harm(
    source: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rename = Path.rename

    def come_late(path: Path, target: Path) -> Path:
        shutil.copytree(path, target)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", come_late)
    slow = OneClass(source, root=tmp_path)
    slow.prepare_data()
    assert [path.name for path in (tmp_path / source).glob("*images*")] == ["images"]
    assert len(list(slow.folder.rglob("*.png"))) == 40


@pytest.mark.usefixtures("no_network")
@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("CIFAR10", ["cifar-10-python.tar.gz"]),
        ("MNIST", ["MNIST/raw/train-images-idx3-ubyte.gz", "MNIST/raw/t10k-labels-idx1-ubyte.gz"]),
        ("FashionMNIST", ["FashionMNIST/raw/train-labels-idx1-ubyte.gz"]),
    ],
)
def test_without_a_network_the_files_are_named(name: str, files: list[str], tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="no network") as caught:
        OneClass(name, root=tmp_path).prepare_data()
    message = str(caught.value)
    assert message.startswith(f"{name} could neither be read from root '{tmp_path}' nor downloaded to it (")
    assert all(str(tmp_path / file) in message for file in files)
    assert not list(tmp_path.rglob("*images"))


@pytest.mark.parametrize("source", ["MNIST"], indirect=True)
def test_damaged_download_is_named(source: str, tmp_path: Path) -> None:
    file = tmp_path / source / "raw" / "t10k-images-idx3-ubyte"
    file.write_bytes(file.read_bytes()[:-5])
    with pytest.raises(RuntimeError, match=rf"{source} could neither be read .*; delete damaged files"):
        OneClass(source, root=tmp_path).prepare_data()


def test_set_up_without_preparation(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"MNIST's images are not at .* yet; call prepare_data\(\) before"):
        OneClass("MNIST", root=tmp_path).setup()


@pytest.mark.parametrize("normal_class", ["fox", "Cat", 3, -1])
def test_unknown_class(shared_folder: Path, normal_class: str | int) -> None:
    message = rf"normal_class must be one of 'cat', 'dog', 'owl' or an index from 0 to 2, got {normal_class!r}\."
    with pytest.raises(ValueError, match=message):
        set_up(shared_folder, normal_class)


@pytest.mark.parametrize("split", ["train", "test"])
def test_folder_without_a_split(folder: Path, split: str) -> None:
    shutil.rmtree(folder / split)
    message = (
        rf"source must be 'CIFAR10', 'MNIST', 'FashionMNIST' or a folder with images in {{train,test}}/<class>/, "
        rf"got '{folder}', where there is no folder '{split}'\."
    )
    with pytest.raises(ValueError, match=message):
        set_up(folder)


def test_unknown_source() -> None:
    with pytest.raises(ValueError, match=r"source must be 'CIFAR10', .*, got 'cifar10', where there is no folder"):
        set_up("cifar10")


@pytest.mark.parametrize(("split", "name"), [("train", "cat"), ("test", "cat"), ("test", "owl")])
def test_class_without_images(folder: Path, split: str, name: str) -> None:
    for file in (folder / split / name).iterdir():
        file.rename(file.with_suffix(".txt"))
    message = rf"{folder / split} must have images of every class; there is none in '{name}'"
    with pytest.raises(ValueError, match=message):
        set_up(folder)


def test_validation_folder_is_not_read(shared_folder: Path) -> None:
    with pytest.raises(ValueError, match=r"val_split_mode must be one of none, from_train, .*, got 'from_dir'\."):
        OneClass(shared_folder, val_split_mode="from_dir")


def test_data_check_looks_at_the_files(folder: Path) -> None:
    assert [problem for problem in check_datamodule(set_up(folder)) if problem.severity == "error"] == []
    shutil.copy(folder / "train" / "cat" / "0.png", folder / "test" / "cat" / "again.png")
    (folder / "test" / "dog" / "1.png").write_bytes(b"")
    errors = {problem.subject: problem.message for problem in check_datamodule(set_up(folder, val_split_mode="none"))}
    assert errors[str(folder / "test" / "cat" / "again.png")].startswith("the image is in the training set, too")
    assert errors[str(folder / "test" / "dog" / "1.png")] == "the file is empty."


@pytest.mark.parametrize(("given", "read"), [("3", 3), ("dog", "dog"), ("T-shirt/top", "T-shirt/top")])
def test_class_on_the_command_line(given: str, read: int | str) -> None:
    parser = ArgumentParser()
    parser.add_subclass_arguments(OneClass, "data")
    arguments = ["--data", "rd_plugin.OneClass", "--data.source", "FashionMNIST", "--data.normal_class", given]
    assert parser.instantiate_classes(parser.parse_args(arguments)).data.normal_class == read


def test_results_are_named_after_source_and_class(shared_folder: Path) -> None:
    assert OneClass("MNIST", 3).category == "MNIST_3"
    assert OneClass("FashionMNIST", "T-shirt/top").category == "FashionMNIST_T_shirt_top"
    assert OneClass(f"{shared_folder}/train/..", "cat").category == "animals_cat"
