# SPDX-License-Identifier: Apache-2.0
"""A folder of your own images: good parts, and optionally defects and masks."""

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Literal, cast

import pandas as pd
from anomalib.data import AnomalibDataset, Folder, ImageItem
from anomalib.data.dataclasses import DatasetItem
from anomalib.data.utils import LabelName, Split, TestSplitMode, ValSplitMode
from torchvision.transforms.v2 import Transform

from rd_plugin.storage import is_address, local_copy

from .folder_tree import FolderTree, RemoteTree, folder_tree
from .image_files import FoundImages, check_links
from .labels import content_digest, is_held_out, read_labels
from .part_names import check_names

__all__ = ["PartsFolder", "PartsFolderDataset"]

logger = logging.getLogger(__name__)

Directory = str | Path | Sequence[str | Path]

_DEFECT = "defect"
_MASK = "mask"
# Good validation images that a false-alarm rate of 1 %, the post-processor's default, requires.
_FOR_RATE = 99
# By default a fifth of the good images, more if the rate needs more, but never more than half.
_USUAL, _MOST = 0.2, 0.5
# Columns of the table of parts: split and label.
_COLUMNS = (("train", 0), ("val", 0), ("test", 0), ("test", 1))
# One for training, one for testing, and two whose scores define a range.
_FEWEST = 4


class PartsFolderDataset(AnomalibDataset):
    """One split of a folder.

    Args:
        name: Name of the data.
        samples: anomalib's table of the samples.
    """

    def __init__(self, name: str, samples: pd.DataFrame) -> None:
        super().__init__()
        self._name = name
        self.samples = samples

    @property
    def name(self) -> str:
        """Name of the data."""
        return self._name

    @property
    def samples(self) -> pd.DataFrame:
        """Table of the samples, as anomalib keeps it."""
        return self._table

    @samples.setter
    def samples(self, samples: pd.DataFrame) -> None:
        # anomalib would look for each file on the disk.
        self._table = samples.sort_values(by="image_path", ignore_index=True)

    def __getitem__(self, index: int) -> DatasetItem:
        """Return an image; one at an address as a copy on the disk is read, which may be kept."""
        sample = self.samples.iloc[index]
        if not is_address(sample["image_path"]):
            return super().__getitem__(index)
        # anomalib reads files of the disk only.
        local = copy(self)
        with ExitStack() as copies:
            paths = {}
            for name in ("image_path", "mask_path"):
                kept = Path(sample["kept"]) if name == "image_path" and sample["kept"] else None
                paths[name] = str(copies.enter_context(local_copy(sample[name], kept))) if sample[name] else ""
            local.samples = self.samples.iloc[[index]].assign(**paths)
            item = cast("ImageItem", super(PartsFolderDataset, local).__getitem__(0))
        item.image_path, item.mask_path = sample["image_path"], sample["mask_path"]
        return item


class PartsFolder(Folder):
    """anomalib's ``Folder`` with automatic splits and optional subfolders: good images alone are enough.

    .. code-block:: text

        root/good/     images of good parts, at any depth
        root/defect/   images of defects, if there are any, at any depth: defect/scratch/1.png
        root/mask/     their masks, if there are any, at the same places: mask/scratch/1.png or mask/scratch/1_mask.png

    Good images are split with a fixed seed: most are for training, a share is held out to set thresholds (the
    validation set), and a share for the test, to measure the false-alarm rate. All defects are in the test set; the
    validation set has none, so that no defect influences the threshold that it is tested with. A table in the log shows
    the splits.

    With ``labels``, images that people have marked are used as marked; their content identifies them. A defect is not
    for training and sets no threshold: it is for the test, or left out if defects have masks. An unclear image is
    left out. A good one in the folder keeps its side of the split; another one is held out to set thresholds if
    :func:`~rd_plugin.data.labels.is_held_out` says so, as ``rd-plugin update`` does, and otherwise for training.

    anomalib's ``Folder`` does not accept paths with non-ASCII characters, or a missing folder of defects; this class
    does.

    If ``root`` has no folder ``good``, but its subfolders have, each subfolder is a separate part: ``root/cap/good``,
    ``root/cap/defect``, ``root/screw/good``. One model is then trained on the good images of all parts, and each part
    is split as above and gets its own thresholds and metrics.

    ``root`` may be an address that fsspec knows, such as ``s3://bucket/parts``; its package, such as ``s3fs``, must be
    installed, and its credentials are in the environment. Images are copied to ``cache_dir`` when they are first read,
    training images first, as many as ``cache_bytes`` allows. The others are read from the address each time.

    Args:
        root: The folder, or its address.
        name: Name of the results folder; by default that of ``root``.
        normal_dir: Folder of good images within ``root``, or several.
        abnormal_dir: Folder of defects, or several; by default ``defect`` if it exists.
        mask_dir: Folder of masks, or one for each of ``abnormal_dir``; by default ``mask`` if it exists. Either all
            defects have a mask or none has.
        val_split_ratio: Share of the good images on which thresholds are set. ``"auto"``: a fifth, or the 99 images
            that a false-alarm rate of 1 % needs, if they are more, but at most half of the good images.
        test_split_ratio: Share of the good images in the test set.
        train_batch_size: Images in a training batch.
        eval_batch_size: Images in an evaluation batch.
        num_workers: Processes that read images.
        train_augmentations: Augmentations of training images.
        val_augmentations: Augmentations of validation images.
        test_augmentations: Augmentations of test images.
        augmentations: Augmentations of all images for which no others are given.
        seed: Seed of the split.
        labels: File of labels, such as a report saves, for images in the folder and elsewhere; relative paths start
            from the current folder. Only for a folder of one part, on a disk.
        cache_dir: Where copies of remote images are kept for all processes of a machine, in a folder for each ``root``;
            by default ``~/.cache/rd_plugin``. In that folder, copies of earlier versions or beyond ``cache_bytes`` are
            deleted.
        cache_bytes: Maximum size of the copies of ``root``; 0 for no copies.

    Raises:
        ValueError: If a share is not between 0 and 1 or both leave no training images; during setup, if there are too
            few images, of one of several parts, too, or defects without a mask.
        FileNotFoundError: During setup, if a folder does not exist or a link is broken.

    Example:
        >>> PartsFolder("datasets/Prüfteile 2024").name
        'Prüfteile 2024'
    """

    def __init__(
        self,
        root: str | Path,
        name: str | None = None,
        normal_dir: Directory = "good",
        abnormal_dir: Directory | None = None,
        mask_dir: Directory | None = None,
        val_split_ratio: float | Literal["auto"] = "auto",
        test_split_ratio: float = 0.2,
        train_batch_size: int = 16,
        eval_batch_size: int = 16,
        num_workers: int = 4,
        train_augmentations: Transform | None = None,
        val_augmentations: Transform | None = None,
        test_augmentations: Transform | None = None,
        augmentations: Transform | None = None,
        seed: int = 0,
        labels: str | Path | None = None,
        cache_dir: str | Path | None = None,
        cache_bytes: int = 10 * 10**9,
    ) -> None:
        most = _MOST if val_split_ratio == "auto" else val_split_ratio
        for argument, share in (("val_split_ratio", most), ("test_split_ratio", test_split_ratio)):
            if isinstance(share, str) or not 0 < share < 1:
                msg = f"{argument} must be a fraction between 0 and 1, got {share!r}."
                raise ValueError(msg)
        if cache_bytes < 0:
            msg = f"cache_bytes must be 0 or more, got {cache_bytes}."
            raise ValueError(msg)
        if most + test_split_ratio >= 1:
            msg = f"val_split_ratio + test_split_ratio must be less than 1, got {most} + {test_split_ratio}."
            raise ValueError(msg)
        super().__init__(
            name=name or Path(root).absolute().name,
            normal_dir=normal_dir,
            root=root,
            abnormal_dir=abnormal_dir,
            mask_dir=mask_dir,
            train_batch_size=train_batch_size,
            eval_batch_size=eval_batch_size,
            num_workers=num_workers,
            train_augmentations=train_augmentations,
            val_augmentations=val_augmentations,
            test_augmentations=test_augmentations,
            augmentations=augmentations,
            # All three splits are made here, not by anomalib.
            test_split_mode=TestSplitMode.FROM_DIR,
            test_split_ratio=test_split_ratio,
            val_split_mode=ValSplitMode.FROM_DIR,
            val_split_ratio=most,
            seed=seed,
        )
        self.labels = labels
        self.cache_dir, self.cache_bytes = cache_dir, cache_bytes
        # Of one of several parts, its folder.
        self._part: Path | None = None
        self._automatic = val_split_ratio == "auto"
        self._told = False

    @cached_property
    def _tree(self) -> FolderTree:
        """What ``root`` holds; an address is listed once."""
        return folder_tree(str(self.root))

    @property
    def _place(self) -> Path:
        """The folder of the part."""
        return self._part or self._tree.root

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts, sorted; empty if ``root`` is the folder of one part."""
        tree, root = self._tree, self._tree.root
        normal = [self.normal_dir] if isinstance(self.normal_dir, str | Path) else self.normal_dir
        if not tree.is_folder(root) or any(tree.is_folder(root / entry) for entry in normal):
            return ()
        folders = tree.folders(root)
        if not any(tree.is_folder(folder / entry) for folder in folders for entry in normal):
            return ()
        return tuple(sorted(folder.name for folder in folders if tree.find(folder).files))

    def _setup(self, _stage: str | None = None) -> None:
        root, tree = str(self.root), self._tree
        if not tree.is_folder(tree.root):
            msg = f"data.root {root!r} is not a folder."
            raise FileNotFoundError(msg)
        parts = self.parts
        if parts and self.labels is not None:
            msg = f"data.labels {str(self.labels)!r} is for a folder of one part; data.root {root!r} has several."
            raise ValueError(msg)
        if isinstance(tree, RemoteTree) and self.labels is not None:
            msg = f"data.labels {str(self.labels)!r} is for a folder on a disk; data.root {root!r} is an address."
            raise ValueError(msg)
        table = self._of_parts(parts) if parts else self._samples_of_part()
        if isinstance(tree, RemoteTree):
            self._keep(tree, table)
        else:
            check_links([*table["image_path"], *filter(None, table["mask_path"])])
        masked = any(table["mask_path"])
        without = table.loc[
            (table["label_index"] == int(LabelName.ABNORMAL)) & (table["mask_path"] == ""), "image_path"
        ]
        if masked and len(without):
            msg = (
                f"data.mask_dir: some parts have masks, but {without.iloc[0]!r} has none; give masks to all or to none."
            )
            raise ValueError(msg)
        self._set_splits(table, "segmentation" if masked else "classification")
        if not self._told:
            logger.info("%s", self._table_of_parts(table) if parts else self._table(table))
            self._told = True

    def _keep(self, tree: RemoteTree, table: pd.DataFrame) -> None:
        """Replace paths by addresses, and say which images are kept where: the same ones in all processes."""
        named = hashlib.sha256(str(self.root).encode()).hexdigest()[:16]
        # Nobody else's files are in it.
        folder = Path(self.cache_dir or Path.home() / ".cache" / "rd_plugin", named).absolute()
        images = table.loc[(table["split"] != Split.TRAIN.value).sort_values(kind="stable").index, "image_path"]
        fits = images.map(lambda path: tree.size(Path(path))).cumsum() <= self.cache_bytes
        kept = images[fits].map(lambda path: str(folder / tree.version(Path(path))))
        table["kept"] = kept.reindex(table.index, fill_value="")
        for column in ("image_path", "mask_path"):
            table[column] = table[column].map(lambda path: path and tree.name(Path(path)))
        known = set(kept)
        for file in folder.glob("*"):
            if not file.name.startswith(".") and str(file) not in known:
                file.unlink(missing_ok=True)

    def _of_parts(self, parts: Sequence[str]) -> pd.DataFrame:
        """The samples of all parts, each split by itself."""
        root, tables, problems = str(self.root), [], []
        for name in parts:
            part = copy(self)
            part.root, part._part = f"{root.rstrip('/')}/{name}", self._tree.root / name  # noqa: SLF001
            try:
                tables.append(part._samples_of_part().assign(part=name))  # noqa: SLF001
            except (FileNotFoundError, ValueError) as error:
                problems.append(f"{name}: {error}")
        if problems:
            msg = (
                f"data.root {root!r} has {len(parts)} parts, of which {len(problems)} cannot be used; complete "
                f"them or move them elsewhere: {' '.join(problems)}"
            )
            raise ValueError(msg)
        table = pd.concat(tables, ignore_index=True)
        check_names(table["image_path"], table["part"])
        return table

    def _samples_of_part(self) -> pd.DataFrame:
        """The samples of the folder of one part, with their splits."""
        folders = self._folders(self.normal_dir, "normal_dir")
        good = [image for folder in folders for image in self._tree.find(folder).files]
        share = self._validation_share(len(good))
        # A range needs two scores.
        held_out = [max(round(share * len(good)), 2), max(round(self.test_split_ratio * len(good)), 1)]
        if len(good) <= sum(held_out):
            msg = f"data.root {str(self.root)!r} has {len(good)} good images; at least {_FEWEST} are needed."
            raise ValueError(msg)
        table = pd.DataFrame({"image_path": map(str, good), "label_index": int(LabelName.NORMAL), "mask_path": ""})
        table = table.sample(frac=1, random_state=self.seed, ignore_index=True)
        splits = [Split.VAL.value] * held_out[0] + [Split.TEST.value] * held_out[1]
        table["split"] = splits + [Split.TRAIN.value] * (len(good) - len(splits))
        table = pd.concat([table, self._defects()], ignore_index=True)
        return table if self.labels is None else _marked(table, self.labels)

    def _create_test_split(self) -> None:
        """Keep the splits; anomalib would move good images from the training set to a test set without any."""

    def _validation_share(self, count: int) -> float:
        """Share of ``count`` good images on which thresholds are set."""
        if not self._automatic:
            return self.val_split_ratio
        return min(max(_USUAL, _FOR_RATE / max(count, 1)), _MOST)

    def _folders(self, given: Directory, argument: str) -> list[Path]:
        """Folders within the root, which must exist."""
        tree, root = self._tree, self._place
        folders = [root / entry for entry in ([given] if isinstance(given, str | Path) else given)]
        for folder in folders:
            if not tree.is_folder(folder):
                others = ", ".join(repr(path.name) for path in tree.folders(root)) or "none"
                msg = f"data.{argument}: there is no folder {str(folder)!r}; the folders in data.root are: {others}."
                raise FileNotFoundError(msg)
        return folders

    def _given_or_there(self, given: Directory | None, usual: str) -> Directory:
        """Folders that were given, or the usual one if it exists."""
        if given is not None:
            return given
        return [usual] if self._tree.is_folder(self._place / usual) else []

    def _defects(self) -> pd.DataFrame:
        """The defects with their masks, all for the test."""
        folders = self._folders(self._given_or_there(self.abnormal_dir, _DEFECT), "abnormal_dir")
        masks = self._folders(self._given_or_there(self.mask_dir, _MASK), "mask_dir")
        if len(masks) == 1 and len(folders) > 1:
            # One folder of masks may hold a subfolder for each folder of defects, or the masks of all.
            inner = [masks[0] / folder.name for folder in folders]
            masks = [folder if self._tree.is_folder(folder) else masks[0] for folder in inner]
        if masks and folders and len(masks) != len(folders):
            msg = (
                f"data.mask_dir must be one folder, or one for each of abnormal_dir ({len(folders)}), got {len(masks)}."
            )
            raise ValueError(msg)
        rows = []
        for index, folder in enumerate(folders):
            known = _masks(masks[index], self._tree) if masks else {}
            for image in self._tree.find(folder).files:
                place = image.relative_to(folder).with_suffix("")
                rows.append((str(image), known.get(place.as_posix(), "")))
        without = [image for image, mask in rows if not mask]
        if without and any(self._tree.find(folder).files for folder in masks):
            msg = (
                f"data.mask_dir: {len(without)} of {len(rows)} defects have no mask, such as {without[0]!r}; put each "
                "mask at the same place under the same name, or move the masks out of data.root."
            )
            raise ValueError(msg)
        taken = [mask for _, mask in rows if mask]
        if twice := sorted({mask for mask in taken if taken.count(mask) > 1}):
            msg = (
                f"data.mask_dir: {twice[0]!r} would be the mask of several defects; give each folder of abnormal_dir "
                "its own masks."
            )
            raise ValueError(msg)
        defects = pd.DataFrame(rows, columns=["image_path", "mask_path"])
        return defects.assign(label_index=int(LabelName.ABNORMAL), split=Split.TEST.value)

    def _set_splits(self, table: pd.DataFrame, task: str) -> None:
        """Make a data set of each split."""
        table.attrs["task"] = task
        for split in (Split.TRAIN, Split.VAL, Split.TEST):
            samples = table[table["split"] == split.value].reset_index(drop=True)
            setattr(self, f"{split.value}_data", PartsFolderDataset(self.name, samples))

    def _table(self, table: pd.DataFrame) -> str:
        """The table of the images found and their splits."""
        counts = table.groupby(["split", "label_index"]).size()
        masks = sum(table["mask_path"] != "")
        lines = [
            f"{self.root}: {sum(table['label_index'] == 0)} good images, {sum(table['label_index'] == 1)} defects, "
            f"{masks or 'no'} masks",
            "  used to                |  good | defects",
            "  -----------------------+-------+--------",
        ]
        for split, purpose in (("train", "train"), ("val", "set thresholds (val)"), ("test", "test")):
            lines.append(f"  {purpose:<22} | {counts.get((split, 0), 0):>5} | {counts.get((split, 1), 0):>7}")
        if left_out := self._left_out():
            lines.append(f"  left out: {left_out}")
        if unused := self._unused(table):
            lines.append(f"  not used: {', '.join(unused)}; to use folders of defects, name them in data.abnormal_dir")
        return "\n".join(lines)

    def _table_of_parts(self, table: pd.DataFrame) -> str:
        """The table of the images found of each part."""
        counts = table.groupby(["part", "split", "label_index"]).size()
        names = sorted(set(table["part"]))
        width = max(map(len, [*names, "part"]))
        lines = [
            f"{self.root}: {len(names)} parts, {sum(table['label_index'] == 0)} good images, "
            f"{sum(table['label_index'] == 1)} defects",
            f"  {'part':<{width}} | train | set thresholds (val) | test, good | test, defects",
            f"  {'-' * width}-+-------+----------------------+------------+--------------",
        ]
        for name in names:
            found = [counts.get((name, split, label), 0) for split, label in _COLUMNS]
            lines.append("  {:<{}} | {:>5} | {:>20} | {:>10} | {:>13}".format(name, width, *found))
        return "\n".join(lines)

    def _left_out(self) -> str:
        """Hidden files and files that are not images in the used folders, by kind."""
        given = (
            self.normal_dir,
            self._given_or_there(self.abnormal_dir, _DEFECT),
            self._given_or_there(self.mask_dir, _MASK),
        )
        folders = [folder for entry in given for folder in self._folders(entry, "")]
        left_out = sum((self._tree.find(folder).left_out for folder in folders), Counter[str]())
        return FoundImages(left_out=left_out).left_out_text

    def _unused(self, table: pd.DataFrame) -> list[str]:
        """Folders in the root whose images are not used."""
        tree = self._tree
        used = set(table["image_path"]) | set(table["mask_path"])
        found = [(folder.name, tree.find(folder).files) for folder in tree.folders(tree.root) if folder.name != _MASK]
        unused = [(name, len(files)) for name, files in found if used.isdisjoint(map(tree.name, files))]
        return [f"{name} ({count} images)" for name, count in unused if count]


def _marked(table: pd.DataFrame, labels: str | Path) -> pd.DataFrame:
    """The table of samples, as people have marked the images."""
    marks = {content_digest(image): (str(image), label) for label, images in read_labels(labels) for image in images}
    digests = table["image_path"].map(content_digest)
    found = digests.map(lambda digest: marks.get(digest, ("", ""))[1])
    good, abnormal = int(LabelName.NORMAL), int(LabelName.ABNORMAL)
    table.loc[found == "good", ["label_index", "mask_path"]] = [good, ""]
    kept = (found != "unclear") & ((found != "defect") | (table["label_index"] == abnormal))
    known = set(digests[kept])
    with_masks = any(table["mask_path"])
    rows = []
    for digest, (image, label) in marks.items():
        if digest in known:
            continue
        if label == "good":
            rows.append((image, good, "", (Split.VAL if is_held_out(digest) else Split.TRAIN).value))
        elif label == "defect" and not with_masks:
            rows.append((image, abnormal, "", Split.TEST.value))
    added = pd.DataFrame(rows, columns=["image_path", "label_index", "mask_path", "split"])
    return pd.concat([table[kept], added], ignore_index=True)


def _masks(folder: Path, tree: FolderTree) -> dict[str, str]:
    """Masks by the relative path of their image, without extensions."""
    places = ((path.relative_to(folder).with_suffix("").as_posix(), str(path)) for path in tree.find(folder).files)
    return {place.removesuffix("_mask"): path for place, path in places}
