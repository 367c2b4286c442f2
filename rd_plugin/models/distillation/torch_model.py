# SPDX-License-Identifier: Apache-2.0
"""Teacher, bottleneck and student as a torch module, independent of the training method."""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, cast, get_args

import torch
from anomalib.data import InferenceBatch
from anomalib.data.utils.tiler import ImageUpscaleMode, Tiler
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from rd_plugin.components import (
    FINITE_RANGE,
    AlignedBatch,
    Alignment,
    AlignType,
    AnomalyMapGenerator,
    AnomalyMapMode,
    BlurBorder,
    DeviationType,
    FixedSizeMap,
    ImageScore,
    Region,
    RegionMask,
    Registration,
    ScoreType,
    Student,
    Teacher,
    Tiles,
    build_deviation,
    check_images,
    in_range,
    mask_invalid,
    tiles_of,
)

__all__ = ["DistillationModel"]

_IMAGE_DIMENSIONS = 4


class DistillationModel(nn.Module):
    """Teacher, bottleneck and student, and the anomaly map from their features (Deng and Li, CVPR 2022).

    Args:
        teacher: The teacher.
        bottleneck: Bottleneck for the teacher's pyramid.
        student: Student for the teacher's pyramid.
        deviation: ``"cosine"`` or ``"mahalanobis"``; see :mod:`~rd_plugin.components.deviation`.
        anomaly_map_mode: ``"add"``, ``"mean"`` or ``"multiply"``.
        score: ``"max"``, ``"mean"``, or the fraction of highest pixels or number of highest areas whose mean is the
            score; see :class:`~rd_plugin.components.ImageScore`.
        blur_sigma: Standard deviation of the Gaussian blur, in pixels.
        blur_border: ``"symmetric"`` or ``"reflect"``, as in ``numpy.pad``.
        tile_size: Height and width of tiles that images are cut into, in pixels, or one number for both. Each tile goes
            through the model separately, and the tiles' maps are joined. ``None`` for no tiles.
        tile_overlap: Rows and columns that neighbouring tiles share, or one number for both.
        map_size: Height and width that the map is resized to, in pixels, before it is blurred and scored, as in
            Dinomaly; see :class:`~rd_plugin.components.FixedSizeMap`. ``None``: it keeps the images' size.
        image_size: Height and width of images, in pixels, if it is known: a ViT's position table is made for it.
        roi: The region of interest in plain values, as :class:`~rd_plugin.components.Region` takes them; ``None`` for
            the whole image.
        align: ``"translation"`` to register images to the mean of normal ones before the networks process them; see
            :class:`~rd_plugin.components.Alignment`. ``"none"``: images are used unchanged.

    Raises:
        ValueError: If an argument is out of range; see the components.
    """

    roi: RegionMask | None
    alignment: Alignment | None
    # Parts for which the network itself differs.
    parts: tuple[str, ...] = ()

    def __init__(
        self,
        teacher: Teacher,
        bottleneck: nn.Module,
        student: Student,
        deviation: DeviationType = "cosine",
        anomaly_map_mode: AnomalyMapMode = "add",
        score: ScoreType = "max",
        blur_sigma: float = 4.0,
        blur_border: BlurBorder = "symmetric",
        tile_size: int | Sequence[int] | None = None,
        tile_overlap: int | Sequence[int] = 0,
        map_size: int | None = None,
        image_size: Sequence[int] | None = None,
        roi: Mapping[str, Any] | None = None,
        align: AlignType = "none",
    ) -> None:
        super().__init__()
        self.tiler = tiles_of(tile_size, tile_overlap)
        self.teacher = teacher
        self.bottleneck = bottleneck
        self.student = student
        self.deviation = build_deviation(deviation, [stage.channels for stage in teacher.pyramid.targets])
        self.fixed_size_map = None if map_size is None else FixedSizeMap(map_size, blur_sigma)
        sigma = blur_sigma if map_size is None else 0.0
        self.anomaly_map_generator = AnomalyMapGenerator(anomaly_map_mode, sigma, blur_border)
        self.image_score = ImageScore(score)
        self.roi = None
        if roi is not None:
            self.set_roi(Region.of(roi), image_size)
        self.alignment = None
        self.set_align(align, image_size)
        # The teacher's inputs have this layout; otherwise convolutions would convert the weights in every call.
        for parameter in self.parameters():
            if parameter.ndim == _IMAGE_DIMENSIONS:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        if image_size is not None:
            self.set_size(image_size)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore the state of a pickled module; torch exports of earlier versions have no region and no alignment."""
        super().__setstate__(state)
        for name in ("roi", "alignment"):
            if not hasattr(self, name):
                setattr(self, name, None)

    def as_part(self, part: str) -> AbstractContextManager[None]:
        """Return a context within which the network is that of one of several parts; by default it is that of all."""
        del part
        return nullcontext()

    def set_roi(self, region: Region, image_size: Sequence[int] | None = None) -> None:
        """Restrict a model of whole images to a region of interest.

        Args:
            region: The region.
            image_size: Height and width of images, in pixels, if they are known.

        Raises:
            ValueError: If images are cut into tiles and their size is not known.
        """
        if self.tiler is not None and image_size is None:
            msg = "roi with tile_size needs images of a known size: give image_size, or a pre-processor that resizes."
            raise ValueError(msg)
        self.roi = RegionMask(region, image_size)
        self.image_score = ImageScore(self.roi.score_within(self.image_score.kind))

    def set_align(self, align: AlignType, image_size: Sequence[int] | None) -> None:
        """Make a model register images that it used unchanged before.

        Args:
            align: ``"none"`` or ``"translation"``.
            image_size: Height and width of images, in pixels, if they are known.

        Raises:
            ValueError: If ``align`` is something else, or the images' size is not known.
        """
        if align not in get_args(AlignType):
            msg = f"align must be 'none' or 'translation', got {align!r}."
            raise ValueError(msg)
        if align == "none":
            return
        if image_size is None:
            msg = f"align {align!r} needs images of a known size: give image_size, or a pre-processor that resizes."
            raise ValueError(msg)
        self.alignment = Alignment(image_size)

    @property
    def align(self) -> AlignType:
        """How images are registered."""
        return "none" if self.alignment is None else "translation"

    def set_size(self, image_size: Sequence[int]) -> None:
        """Prepare the teacher for images of a height and width, in pixels, or for their tiles."""
        self.teacher.set_size(image_size if self.tiler is None else self.tiler.size)
        for part in (self.roi, self.alignment):
            if part is not None:
                part.set_size(image_size)

    @property
    def tiler(self) -> Tiles | None:
        """How images are cut into tiles; ``None`` if they are not."""
        return self._tiler

    @tiler.setter
    def tiler(self, tiler: Tiles | Tiler | None) -> None:
        # anomalib's TilerConfigurationCallback sets its own tiler, which can be neither recorded nor exported.
        if isinstance(tiler, Tiler):
            if tiler.mode != ImageUpscaleMode.PADDING or tiler.remove_border_count:
                msg = (
                    f"tiler: mode {str(tiler.mode)!r} with remove_border_count {tiler.remove_border_count} cannot be "
                    "exported, and is not supported: use mode 'padding' with 0, or the model's tile_size."
                )
                raise ValueError(msg)
            size = (tiler.tile_size_h, tiler.tile_size_w)
            tiler = Tiles(size, (size[0] - tiler.stride_h, size[1] - tiler.stride_w))
        self._tiler = tiler

    def check(self, images: Tensor) -> None:
        """Check that ``images`` are a batch of shape ``(N, 3, H, W)`` and of the weights' type.

        Raises:
            TypeError: If they have another type.
            ValueError: If they have another shape.
        """
        check_images(images, next(self.student.parameters()).dtype)

    def register(self, images: Tensor) -> Registration | None:
        """Return where the parts in images of shape ``(N, 3, H, W)`` are; ``None`` if they are not registered."""
        return None if self.alignment is None or not self.alignment.is_fitted else self.alignment(images)

    def aligned(self, images: Tensor) -> Tensor:
        """Return images of shape ``(N, 3, H, W)`` with their part in its usual position."""
        if self.alignment is None or not self.alignment.is_fitted:
            return images
        # One by one, so that an image is the same, bit for bit, in every batch.
        return torch.cat([self.alignment.aligned(image, self.alignment(image)) for image in images.split(1)])

    def network_inputs(self, images: Tensor) -> Tensor:
        """Return the input of the networks: aligned images, or their tiles if there is a tiler."""
        images = self.within_roi(images)
        return images if self.tiler is None else self.tiler.cut(images)

    def within_roi(self, images: Tensor) -> Tensor:
        """Return images of shape ``(N, C, H, W)`` that are 0 outside the region of interest."""
        return images if self.roi is None else self.roi.restrict(images)

    def inside(self, inputs: Tensor) -> Tensor | None:
        """Return where inputs of the networks, or features of them, are inside the region of interest.

        Args:
            inputs: Inputs, features or deviations, of shape ``(N, ..., H, W)``.

        Returns:
            Booleans of shape ``(N or 1, 1, H, W)``; ``None`` without a region.
        """
        return None if self.roi is None else self.roi.inside_tiles(self.tiler, inputs.shape[-2:], inputs.shape[0])

    def twins_within_roi(self, inputs: Tensor, twins: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Return twins of the networks' inputs, and the masks of their anomalies, without anomalies outside the region.

        Args:
            inputs: Inputs of the networks, of shape ``(N, 3, H, W)``.
            twins: The same with synthetic anomalies.
            masks: Masks of the anomalies, of shape ``(N, 1, H, W)``.
        """
        inside = self.inside(inputs)
        return (twins, masks) if inside is None else (torch.where(inside, twins, inputs), torch.where(inside, masks, 0))

    def features_within_roi(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return features of shapes ``(N, C_l, H_l, W_l)`` that are 0 outside the region of interest.

        Those after the distilled ones describe the image as a whole, and stay as they are.
        """
        scales = len(self.teacher.pyramid.distilled)
        masks = [self.inside(feature) for feature in features[:scales]]
        pairs = zip(features, masks, strict=False)
        kept = [feature if mask is None else torch.where(mask, feature, 0) for feature, mask in pairs]
        return [*kept, *features[scales:]]

    def pooled_features(self, images: Tensor) -> Tensor:
        """Return the means of the teacher's features over all positions, of shape ``(N, D)``.

        Args:
            images: Normalized images of shape ``(N, 3, H, W)``.
        """
        # As the images are: a method that normalizes brightness would take away what tells parts apart.
        inputs = DistillationModel.network_inputs(self, images)
        features = self.teacher(inputs)[: len(self.teacher.pyramid.distilled)]
        means = torch.cat([feature.mean((-2, -1)) for feature in features], dim=1)
        return means.unflatten(0, (len(images), -1)).mean(1)

    def reconstruct(self, features: list[Tensor]) -> list[Tensor]:
        """Return the student's features for those of the teacher, all of shapes ``(N, C_l, H_l, W_l)``."""
        return self.student(self.bottleneck(features), features[: len(self.teacher.pyramid.distilled)])

    def distill(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Return the features of teacher and student for ``images`` of shape ``(N, 3, H, W)``.

        Returns:
            Two lists of features of shapes ``(N, C_l, H_l, W_l)``, fine to coarse.
        """
        return self.distill_features(self.teacher(images))

    def distill_features(self, features: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Return the features of teacher and student as :meth:`distill` does, for given teacher features."""
        return self.features_within_roi(self.targets(features)), self.features_within_roi(self.reconstruct(features))

    def targets(self, features: list[Tensor]) -> list[Tensor]:
        """Return what the student is compared with, from all of the teacher's features."""
        return features[: len(self.teacher.pyramid.distilled)]

    def deviations(self, images: Tensor) -> list[Tensor]:
        """Return the student's deviations from the teacher, of shapes ``(N, H_l, W_l)``, fine to coarse."""
        return self.deviation(*self.distill(images))

    def anomaly_map(
        self, deviations: list[Tensor], size: Sequence[int], registration: Registration | None = None
    ) -> Tensor:
        """Return the anomaly map of images.

        Args:
            deviations: Deviations for :meth:`network_inputs`, of shapes ``(N, H_l, W_l)``, fine to coarse.
            size: Height and width of the images, in pixels.
            registration: Where the parts were, if images are aligned: the filled border is no anomaly.

        Returns:
            Map of shape ``(N, 1, *size)``.
        """
        if self.alignment is not None and registration is not None:
            # Two positions of the coarsest scale, whose convolutions include the filled border.
            reach = 2 * self.teacher.pyramid.targets[-1].stride
            seen = self.alignment.seen(registration.shift, size, reach).to(deviations[0])
            seen = seen if self.tiler is None else self.tiler.cut(seen)
            deviations = [each * F.interpolate(seen, each.shape[-2:], mode="nearest")[:, 0] for each in deviations]
        if self.roi is not None:
            # Before the blur, which would carry what is outside to the inside.
            masks = [self.roi.inside_tiles(self.tiler, each.shape[-2:], each.shape[0]) for each in deviations]
            deviations = [torch.where(mask[:, 0], each, 0) for mask, each in zip(masks, deviations, strict=True)]
        if self.tiler is None:
            anomaly_map = self.anomaly_map_generator(deviations, size)
        else:
            anomaly_map = self.tiler.join(self.anomaly_map_generator(deviations, self.tiler.size), size)
        return anomaly_map if self.roi is None else self.roi.restrict_map(anomaly_map)

    def predict(self, images: Tensor) -> InferenceBatch | AlignedBatch:
        """Return predictions for images that are known to be finite.

        Args:
            images: Normalized images of shape ``(N, 3, H, W)``, at least as large as the coarsest stride.

        Returns:
            Anomaly maps of shape ``(N, 1, H, W)`` and scores of shape ``(N, 1)``; with an alignment, where the
            parts are, too.

        Raises:
            TypeError: If the images have another type than the weights.
            ValueError: If they have another shape, or are smaller than the coarsest stride or a tile.
        """
        self.check(images)
        registration = self.register(images)
        if registration is None or self.alignment is None:
            return self.predict_aligned(images)
        found = self.predict_aligned(self.alignment.aligned(images, registration), registration)
        returned = self.alignment.returned(cast("Tensor", found.anomaly_map), registration)
        fields = {**found._asdict(), "anomaly_map": returned}
        return AlignedBatch(**fields, registration=registration.packed(images.shape[-2:]))

    def predict_aligned(self, images: Tensor, registration: Registration | None = None) -> InferenceBatch:
        """Return predictions for images whose part is in its usual position.

        Returns:
            Anomaly maps and scores of these images.
        """
        size = images.shape[-2:]
        anomaly_map = self.anomaly_map(self.deviations(self.network_inputs(images)), size, registration)
        # Torch exports of earlier versions do not have it.
        fixed_size_map = getattr(self, "fixed_size_map", None)
        if fixed_size_map is None:
            return InferenceBatch(pred_score=self.image_score(anomaly_map), anomaly_map=anomaly_map)
        resized = fixed_size_map(anomaly_map)
        if self.roi is not None:
            resized = self.roi.restrict_map(resized)
        anomaly_map = F.interpolate(resized, images.shape[-2:], mode="bilinear")
        if self.roi is not None:
            anomaly_map = self.roi.restrict_map(anomaly_map)
        return InferenceBatch(pred_score=self.image_score(resized), anomaly_map=anomaly_map)

    def forward(self, images: Tensor) -> tuple[list[Tensor], list[Tensor]] | InferenceBatch | AlignedBatch:
        """Return features in training and predictions in evaluation.

        Returns:
            In training mode the features of teacher and student, of tiles if there is a tiler. In evaluation mode
            predictions, with NaN as map and score for images that hold NaN or infinity, even in rows and columns that
            the backbone's strides skip.

        Raises:
            TypeError: If the images have another type than the weights.
            ValueError: If they have another shape, or are smaller than the coarsest stride.
        """
        if self.training:
            self.check(images)
            return self.distill(self.network_inputs(images))
        return mask_invalid(self.predict(images), in_range(images, FINITE_RANGE))
