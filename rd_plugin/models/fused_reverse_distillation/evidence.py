# SPDX-License-Identifier: Apache-2.0
"""Kinds of evidence from teacher and student, on one grid."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import ceil

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from rd_plugin.components import PositionGaussians, Teacher, ViTTeacher, cosine_deviation, random_directions

from .context import Context
from .contrast import LocalContrast
from .position_weights import PositionWeights

__all__ = ["EVIDENCE", "Evidence", "evidence_for"]

# In the order in which they are stacked, each with its prior weight. Five sources count alike: the teacher's features
# at a position, in a region, compared with the rest of the image, over the whole image, and the student's error,
# which is measured in two ways.
EVIDENCE = {"teacher": 1 / 5, "region": 1 / 5, "residual": 1 / 10, "cosine": 1 / 10, "context": 1 / 5, "image": 1 / 5}

# The student's error, which depends on what there is to reconstruct, is compared with the error around it.
_ERROR = slice(2, 4)
# Positions of the coarsest scale along the side of a region.
_REGION = 2
# A vision transformer has one fine grid and wide features. So that its statistics take no more memory than those of a
# pyramid: most positions along a side, side of blocks that share a covariance, and directions of a region.
_SIDE, _BLOCK, _DIRECTIONS = 32, 2, 256


def _resample(scale: Tensor, size: Sequence[int]) -> Tensor:
    """Bring features ``(N, C, H, W)`` to a grid: finer ones by averaging, coarser ones by bilinear interpolation."""
    height, width = scale.shape[-2:]
    if (height, width) == tuple(size):
        return scale
    if height <= size[0] and width <= size[1]:
        return F.interpolate(scale, size=list(size), mode="bilinear")
    if height % size[0] == 0 and width % size[1] == 0:
        # Strides are the teacher's, so this is the usual case; runtimes know it as a plain average.
        return F.avg_pool2d(scale, (height // size[0], width // size[1]))
    return F.adaptive_avg_pool2d(scale, (int(size[0]), int(size[1])))


def _where_counted(regions: Tensor, unexplained: Tensor) -> Tensor:
    """What is not explained of regions, 0 for those outside the region of interest, whose features are 0."""
    return torch.where(regions.any(1, keepdim=True), unexplained, 0)


def _join(scales: Sequence[Tensor], size: Sequence[int]) -> Tensor:
    """Bring scales of shapes ``(N, C_l, H_l, W_l)`` to one grid, and concatenate them."""
    return torch.cat([_resample(scale, size) for scale in scales], dim=1)


def _summary(scales: Sequence[Tensor]) -> Tensor:
    """Mean and standard deviation over positions of scales ``(N, C_l, H_l, W_l)``: one position ``(N, 2 C, 1, 1)``."""
    flat = [scale.float().flatten(2) for scale in scales]
    means = [scale.mean(2) for scale in flat]
    spreads = [(scale - mean.unsqueeze(2)).square().mean(2).sqrt() for scale, mean in zip(flat, means, strict=True)]
    return torch.cat([*means, *spreads], dim=1)[..., None, None]


class Evidence(nn.Module):
    r"""Evidence at each position of the middle scale's grid, for images as they are.

    ``teacher``: squared Mahalanobis distance of the teacher's features, all scales joined with their cross-covariances
    (Defard et al., ICPR 2021). ``region``: the same of their averages over regions of 2 x 2 positions of the coarsest
    scale; a faint defect that is larger than a position stands out there, and noise does less. ``residual``: that of
    the teacher's directions less the student's, likewise joined. ``cosine``: one minus their cosine, summed over the
    scales (Deng and Li, equation 1). ``context``: that of a region less what the rest of the picture explains of it;
    see :class:`~rd_plugin.models.fused_reverse_distillation.context.Context`. ``image``: squared Mahalanobis distance
    of the means and standard deviations of the teacher's features over all positions (after Rippel, Mertens and Merhof,
    ICPR 2020), the same at each position; it does not depend on where a part is.

    A plain vision transformer's groups of blocks are the scales. Its class token joins the evidence of the image, and
    its grid is averaged to at most 32 positions a side.

    Args:
        channels: Channels of each scale's features, fine to coarse.
        one_grid: Whether all scales have one grid, as a plain vision transformer's.
        class_channels: Channels of class tokens that come with the features; 0 for none.
    """

    directions: Tensor
    # Of torch exports of earlier versions, which had pyramids alone.
    one_grid = False
    # Of torch exports of version 0.2, which had the coarsest scale's grid, and no context.
    scale = -1

    def __init__(self, channels: Sequence[int], one_grid: bool = False, class_channels: int = 0) -> None:
        super().__init__()
        self.one_grid = one_grid
        self.scale = (len(channels) - 1) // 2
        # Neighbours share covariances, so that a finer grid needs no more memory than the coarsest one.
        block = _BLOCK if one_grid else 2 ** (len(channels) - 1 - self.scale)
        of_region = sum(channels)
        if one_grid:
            self.register_buffer("directions", random_directions(of_region, _DIRECTIONS))
            of_region = min(of_region, _DIRECTIONS)
        self.teacher = PositionGaussians(sum(channels), block=block)
        self.region = PositionGaussians(of_region)
        self.residual = PositionGaussians(sum(channels), block=block)
        self.context = Context()
        self.unexplained = PositionGaussians(of_region)
        self.image = PositionGaussians(2 * sum(channels) + class_channels)
        self.contrast = LocalContrast()
        self.positions = PositionWeights()
        self.register_load_state_dict_pre_hook(_restore_version_0_2)
        self.reset()

    @property
    def has_context(self) -> bool:
        """Whether there are evidence of the context, contrast and position weights, which version 0.2 did not have."""
        return hasattr(self, "context")

    @property
    def kinds(self) -> tuple[str, ...]:
        """Names of the kinds in the order in which they are stacked."""
        return tuple(name for name in EVIDENCE if name != "context" or self.has_context)

    @property
    def gaussians(self) -> dict[str, PositionGaussians]:
        """The kinds that have statistics."""
        found = {"teacher": self.teacher, "region": self.region, "residual": self.residual, "image": self.image}
        return {**found, "context": self.unexplained} if self.has_context else found

    @property
    def is_fitted(self) -> bool:
        """Whether there are statistics of normal images; without them there is the cosine alone."""
        return self.teacher.is_fitted

    def _grid(self, scales: Sequence[Tensor]) -> Sequence[int]:
        size: Sequence[int] = scales[self.scale].shape[-2:]
        while self.one_grid and max(size) > _SIDE:
            size = [ceil(side / 2) for side in size]
        return size

    def _regions(self, teacher: Sequence[Tensor]) -> Tensor:
        """The teacher's joined features averaged over regions."""
        size = self._grid(teacher) if self.one_grid else teacher[-1].shape[-2:]
        regions = _resample(_join(teacher, size), [ceil(side / _REGION) for side in size])
        if not self.one_grid or not self.directions.numel():
            return regions
        return (regions.permute(0, 2, 3, 1) @ self.directions.to(regions.dtype)).permute(0, 3, 1, 2)

    def _features(self, teacher: Sequence[Tensor], student: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the features that there are statistics of, of shapes ``(N, C, H, W)``, by the kind of evidence."""
        # After the scales come a vision transformer's class and register tokens, of shape (N, C, scales, tokens).
        teacher, tokens = teacher[: len(student)], teacher[len(student) :]
        # Not by the number of images, which an export would then take for a constant.
        classes = [part[..., :1].transpose(1, 2).flatten(1)[..., None, None].float() for part in tokens]
        directions = [F.normalize(t.float()) - F.normalize(s.float()) for t, s in zip(teacher, student, strict=True)]
        grid = self._grid(teacher)
        regions = self._regions(teacher)
        features = {
            "teacher": _join(teacher, grid),
            "region": regions,
            "residual": _join(directions, grid),
            "image": torch.cat([_summary(teacher), *classes], dim=1) if classes else _summary(teacher),
        }
        if self.has_context and self.context.mean.numel():
            features["context"] = self.context(regions.float())
        return features

    def _counted(self, teacher: Sequence[Tensor], student: Sequence[Tensor]) -> dict[str, Tensor]:
        """The same for statistics: 0 outside the region of interest, so that these positions do not count."""
        features = self._features(teacher, student)
        if "context" in features:
            features["context"] = _where_counted(features["region"], features["context"])
        return features

    def reset(self) -> None:
        """Discard what was added up; what was computed from it is kept."""
        for part in self.gaussians.values():
            part.reset()
        self._kept = torch.empty(0)

    def update(
        self, teacher: Sequence[Tensor], student: Sequence[Tensor], held_out: Tensor, slots: Tensor, kept: int
    ) -> None:
        """Add up features of normal images.

        Args:
            teacher: Features of shapes ``(N, C_l, H_l, W_l)``, fine to coarse; for a vision transformer also its class
                and register tokens.
            student: Features of the same shapes, without tokens.
            held_out: Which images are held out, booleans of shape ``(N,)``.
            slots: Where the regions of an image are kept for :meth:`fit_context`, integers of shape ``(N,)``; -1 for
                those that are not.
            kept: How many images' regions are kept, in all processes.
        """
        features = self._features(teacher, student)
        for name, part in self.gaussians.items():
            if name != "context":
                part.update(features[name], held_out)
        if not self._kept.numel():
            self._kept = features["region"].new_zeros(kept, *features["region"].shape[1:], dtype=torch.float32)
        self._kept[slots[slots >= 0]] = features["region"][slots >= 0].float()

    def fit_context(self, held_out: Tensor, reduce: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> None:
        """Fit the context of images, from what was kept of those that are not held out.

        Args:
            held_out: Which of the kept images are held out, booleans of shape ``(kept,)``.
            reduce: Returns the sum of a tensor over all processes; by default there is one.
        """
        if not self.has_context:
            return
        kept = reduce(self._kept)
        self.context.fit(kept[~held_out] if not held_out.all() else kept)
        self.unexplained.reset()
        for regions, flags in zip(kept.split(64), held_out.split(64), strict=True):
            self.unexplained.update(_where_counted(regions, self.context(regions)), flags)
        self._kept = torch.empty(0)

    def update_perturbations(self, teacher: Sequence[Tensor], student: Sequence[Tensor], count: int) -> None:
        """Add up how features move when an image is perturbed.

        Args:
            teacher: Features of ``count`` normal images, followed by those of the same images under each perturbation.
            student: Features of the same shapes.
            count: Number of images.
        """
        for name, features in self._counted(teacher, student).items():
            self.gaussians[name].update_perturbations(features[:count], features[count:])

    def update_teacher(self, teacher: Sequence[Tensor], held_out: Tensor) -> None:
        """Add up the teacher's joined features alone, as :meth:`update` does."""
        self.teacher.update(_join(teacher, self._grid(teacher)), held_out)

    def compute(self, reduce: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> None:
        """Set the statistics from all images but those held out; see :meth:`PositionGaussians.compute`."""
        for name, part in self.gaussians.items():
            if name == "context":  # each process has seen all that was kept
                part.compute()
            else:
                part.compute(reduce)

    def include_held_out(self, keep: bool = False) -> None:
        """Set the statistics from all images; see :meth:`PositionGaussians.include_held_out`."""
        for part in self.gaussians.values():
            part.include_held_out(keep)

    def sums(self) -> dict[str, dict[str, Tensor]]:
        """Return what was added up, by kind of evidence; see :meth:`PositionGaussians.sums`."""
        return {name: part.sums() for name, part in self.gaussians.items()}

    def continue_from(self, sums: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Continue from the sums of other images; see :meth:`PositionGaussians.continue_from`."""
        for name, part in self.gaussians.items():
            part.continue_from(sums[name])

    def extend(self, teacher: Sequence[Tensor], student: Sequence[Tensor]) -> None:
        """Add up features of more normal images, with the context as it is.

        Args:
            teacher: Features of shapes ``(N, C_l, H_l, W_l)``, fine to coarse.
            student: Features of the same shapes.
        """
        none = torch.zeros(len(teacher[0]), dtype=torch.bool)
        for name, features in self._counted(teacher, student).items():
            self.gaussians[name].update(features, none)

    def cosine(self, teacher: Sequence[Tensor], student: Sequence[Tensor]) -> Tensor:
        """Return the cosine evidence alone, of shape ``(N, H, W)``, which needs no statistics."""
        scales = zip(teacher[: len(student)], student, strict=True)
        deviations = [cosine_deviation(t, s).unsqueeze(1) for t, s in scales]
        return _join(deviations, self._grid(teacher)).sum(1)

    def forward(self, teacher: Sequence[Tensor], student: Sequence[Tensor]) -> Tensor:
        """Return the evidence.

        Args:
            teacher: Features of shapes ``(N, C_l, H_l, W_l)``, fine to coarse.
            student: Features of the same shapes.

        Returns:
            Tensor of shape ``(N, kinds, H, W)``, at least 0, in the order of :attr:`kinds`.

        Raises:
            ValueError: If there are no statistics, or they are of images of another size.
        """
        features = self._features(teacher, student)
        found = {name: part(features[name]) for name, part in self.gaussians.items()}
        found["cosine"] = self.cosine(teacher, student)
        grid = found["teacher"]
        for name in ("region", "context"):
            if name in found:
                found[name] = _resample(found[name].unsqueeze(1), grid.shape[-2:]).squeeze(1)
        return torch.stack([found[name].expand_as(grid) for name in self.kinds], dim=1)

    @torch.no_grad()
    def fit_contrast(
        self,
        found: Iterable[tuple[Tensor, Tensor | None]],
        reduce: Callable[[Tensor], Tensor] = lambda tensor: tensor,
    ) -> None:
        """Compute what :meth:`calibrated` compares with.

        Args:
            found: Evidence of normal images, of shapes ``(N, kinds, H, W)``, as it is without a contrast and position
                weights, and where it is inside the region of interest, as for :meth:`calibrated`.
            reduce: Returns the sum of a tensor over all processes; by default there is one.
        """
        if not self.has_context:
            return
        self.contrast.reset()
        self.positions.reset()
        for evidence, inside in found:
            self.contrast.update(evidence[:, _ERROR], inside)
        self.contrast.compute(reduce)

    def calibrated(self, evidence: Tensor, inside: Tensor | None = None) -> Tensor:
        """Return evidence with the student's error compared with the error around it, and positions weighted.

        Args:
            evidence: Evidence of shape ``(N, kinds, H, W)``, 0 outside the region of interest.
            inside: Where that is, booleans of shape ``(N or 1, 1, H, W)``; by default everywhere.
        """
        if not self.has_context:
            return evidence
        before, error, after = evidence.tensor_split((_ERROR.start, _ERROR.stop), dim=1)
        return self.positions(torch.cat([before, self.contrast(error, inside), after], dim=1))


def evidence_for(teacher: Teacher) -> Evidence:
    """Build the evidence of a teacher's features."""
    channels = [stage.channels for stage in teacher.pyramid.targets]
    if not isinstance(teacher, ViTTeacher):
        return Evidence(channels)
    return Evidence(channels, one_grid=True, class_channels=sum(channels) if teacher.prefix_tokens else 0)


def _restore_version_0_2(evidence: Evidence, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Compute evidence as the version of a checkpoint did."""
    if f"{prefix}teacher.mean" in state and f"{prefix}context.mean" not in state:
        evidence.scale, evidence.teacher.block, evidence.residual.block = -1, 1, 1
        del evidence.context, evidence.unexplained, evidence.contrast, evidence.positions
