# SPDX-License-Identifier: Apache-2.0
"""One-class data: one class of a classification data set is normal, all others are anomalous."""

import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

from anomalib.data import AnomalibDataModule, AnomalibDataset
from anomalib.data.utils import Split, TestSplitMode
from pandas import DataFrame
from torch.utils.data import DataLoader
from torchvision.datasets import CIFAR10, MNIST, FashionMNIST
from torchvision.datasets.folder import find_classes
from torchvision.transforms.v2 import Transform
from tqdm import tqdm

from .image_files import check_links, find_image_files

__all__ = ["OneClass", "OneClassDataset"]

OneClassValSplit = Literal["none", "from_train", "from_test", "same_as_test", "synthetic"]

_SOURCES: dict[str, type[CIFAR10 | MNIST]] = {"CIFAR10": CIFAR10, "MNIST": MNIST, "FashionMNIST": FashionMNIST}
_SPLITS = (Split.TRAIN, Split.TEST)


def _folder_name(class_name: str) -> str:
    """Name that can be a folder's: ``"T_shirt_top"`` for torchvision's ``"T-shirt/top"``."""
    return re.sub(r"\W+", "_", class_name)


def _classes(folder: Path) -> list[str]:
    """Names of the folders in a folder, but for hidden ones, in alphabetical order."""
    return [name for name in find_classes(folder)[0] if not name.startswith(".")]


def _read(source: str, root: Path, split: Split) -> CIFAR10 | MNIST:
    """Read a split of one of torchvision's data sets, which torchvision downloads if necessary."""
    kind = _SOURCES[source]
    try:
        return kind(root, train=split is Split.TRAIN, download=True)
    # torchvision passes on the errors of the network, the archive readers and its own assertions.
    except Exception as error:
        if issubclass(kind, MNIST):
            archives = [root / source / "raw" / name for name, _ in kind.resources]
        else:
            archives = [root / kind.filename]
        msg = (
            f"{source} could neither be read from root {str(root)!r} nor downloaded to it ({error!r}). Put the "
            f"publisher's files there: {', '.join(map(str, archives))}; delete damaged files."
        )
        raise RuntimeError(msg) from error


def _write_images(source: str, root: Path, folder: Path) -> None:
    """Write one of torchvision's data sets as ``folder/{train,test}/<class>/<number>.png``, atomically."""
    datasets = {split: _read(source, root, split) for split in _SPLITS}
    folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=".images.", suffix=".partial", dir=folder.parent) as partial:
        written = Path(partial, folder.name)
        for split, dataset in datasets.items():
            classes = [written / split.value / _folder_name(name) for name in dataset.classes]
            for class_folder in classes:
                class_folder.mkdir(parents=True)
            # Shown on a terminal only.
            for number, (image, label) in enumerate(tqdm(dataset, f"Writing {folder / split.value}", disable=None)):
                image.save(classes[label] / f"{number:05}.png")
        try:
            written.rename(folder)
        except OSError:
            # Another run may have written them first.
            if not folder.is_dir():
                raise


class OneClassDataset(AnomalibDataset):
    """One split of a folder of classes: the normal class to train on, every class to test on.

    Args:
        folder: Folder with images in ``{train,test}/<class>/``.
        normal_class: Name of the normal class.
        split: Training or test.
        augmentations: Augmentations of the images.

    Raises:
        ValueError: If a class has no image.
    """

    def __init__(
        self,
        folder: Path,
        normal_class: str,
        split: Split,
        augmentations: Transform | None = None,
    ) -> None:
        super().__init__(augmentations=augmentations)
        directory = folder / split.value
        classes = [normal_class] if split is Split.TRAIN else _classes(directory)
        images: list[tuple[str, int]] = []
        for name in classes:
            files = find_image_files(directory / name).files
            if not files:
                msg = f"{directory} must have images of every class; there is none in {name!r}."
                raise ValueError(msg)
            check_links(files)
            images += [(str(file), int(name != normal_class)) for file in files]
        samples = DataFrame(images, columns=["image_path", "label_index"])
        samples = samples.assign(split=split.value, mask_path="")
        samples.attrs["task"] = "classification"
        self.samples = samples
        self.category = normal_class


class OneClass(AnomalibDataModule):
    """One-class novelty detection: one class of a classification data set is normal, all others are anomalous.

    The training set is the normal class of the training split; the test set is the whole test split. There are no
    masks. Grey images get three channels. The model's pre-processor resizes the images.

    anomalib's checks, pictures and exports read image files. So the images of a torchvision data set are written once,
    after its download, as PNG files to ``<root>/<source>/images/{train,test}/<class>/``: 60,000 or 70,000 small files.
    torchvision reads CIFAR-10 from pickles after it has checked their checksums.

    Args:
        source: ``"CIFAR10"``, ``"MNIST"`` or ``"FashionMNIST"``, which torchvision downloads, or a folder with images
            in ``{train,test}/<class>/``.
        normal_class: Name of the normal class, or its index: the label in torchvision's data sets, otherwise the index
            in the alphabetical list of names.
        root: Folder for downloads.
        train_batch_size: Images in a training batch.
        eval_batch_size: Images in an evaluation batch.
        num_workers: Processes that read images.
        val_split_mode: Source of the validation images, on which thresholds are set: ``"from_train"`` holds out a share
            of the normal class, ``"synthetic"`` adds synthetic anomalies to it, ``"from_test"`` moves a share of the
            test images, ``"same_as_test"`` uses all test images. With ``"none"`` there are no thresholds, and only
            AUROC is meaningful.
        val_split_ratio: Share of the images that are used for validation.
        seed: Seed of the validation split.
        **augmentations: Augmentations of :class:`anomalib.data.AnomalibDataModule`.

    Raises:
        ValueError: If ``val_split_mode`` is none of these; during setup, if ``source`` is not such a folder,
            ``normal_class`` is unknown or a class has no image.
        RuntimeError: During preparation, if a torchvision data set can neither be read nor downloaded.
        FileNotFoundError: During setup, if such a data set has not been prepared.

    Example:
        >>> OneClass("MNIST", normal_class=3).category
        'MNIST_3'
    """

    def __init__(
        self,
        source: str | Path = "CIFAR10",
        normal_class: int | str = 0,
        root: str | Path = "./datasets",
        train_batch_size: int = 16,
        eval_batch_size: int = 32,
        num_workers: int = 2,
        val_split_mode: OneClassValSplit = "from_train",
        val_split_ratio: float = 0.1,
        seed: int = 0,
        **augmentations: Any,
    ) -> None:
        if val_split_mode not in get_args(OneClassValSplit):
            msg = f"val_split_mode must be one of {', '.join(get_args(OneClassValSplit))}, got {val_split_mode!r}."
            raise ValueError(msg)
        super().__init__(
            train_batch_size=train_batch_size,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            val_split_mode=val_split_mode,
            val_split_ratio=val_split_ratio,
            test_split_mode=TestSplitMode.FROM_DIR,
            test_split_ratio=None,
            seed=seed,
            **augmentations,
        )
        self.source = str(source)
        self.normal_class = normal_class
        self.root = Path(root)
        self.folder = self.root / self.source / "images" if self.source in _SOURCES else Path(source)
        self.category = f"{Path(source).resolve().name}_{_folder_name(str(normal_class))}"

    def prepare_data(self) -> None:
        """Download a torchvision data set and write its images, unless this has been done before."""
        if self.source in _SOURCES and not self.folder.is_dir():
            _write_images(self.source, self.root, self.folder)

    def val_dataloader(self) -> DataLoader | list:
        """Return the validation batches, none if there is no validation set."""
        return super().val_dataloader() if hasattr(self, "val_data") else []

    def _setup(self, _stage: str | None = None) -> None:
        missing = [split.value for split in _SPLITS if not (self.folder / split.value).is_dir()]
        if missing and self.source in _SOURCES:
            msg = f"{self.source}'s images are not at {str(self.folder)!r} yet; call prepare_data() before setup()."
            raise FileNotFoundError(msg)
        if missing:
            msg = (
                f"source must be {', '.join(map(repr, _SOURCES))} or a folder with images in {{train,test}}/<class>/, "
                f"got {self.source!r}, where there is no folder {missing[0]!r}."
            )
            raise ValueError(msg)
        normal_class = self._class_name()
        self.train_data = OneClassDataset(self.folder, normal_class, Split.TRAIN)
        self.test_data = OneClassDataset(self.folder, normal_class, Split.TEST)

    def _class_name(self) -> str:
        """Name of the normal class's folder."""
        # CIFAR-10's class names are only in its files; they are in alphabetical order.
        labels = getattr(_SOURCES.get(self.source), "classes", None)
        classes = _classes(self.folder / Split.TEST.value) if labels is None else list(map(_folder_name, labels))
        for name in (str(self.normal_class), _folder_name(str(self.normal_class))):
            if name in classes:
                return name
        if isinstance(self.normal_class, int) and self.normal_class in range(len(classes)):
            return classes[self.normal_class]
        msg = (
            f"normal_class must be one of {', '.join(map(repr, classes))} or an index from 0 to {len(classes) - 1}, "
            f"got {self.normal_class!r}."
        )
        raise ValueError(msg)
