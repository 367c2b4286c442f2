# SPDX-License-Identifier: Apache-2.0
"""What teacher and student have to say about an image: kinds of evidence on one grid."""

from collections.abc import Callable, Sequence
from math import ceil

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from rd_plugin.components import PositionGaussians, cosine_deviation

__all__ = ["EVIDENCE", "Evidence"]

# In the order in which they are stacked, each with its share: four sources count alike, the teacher's features at a
# position, in a region and over the whole image, and the student's error, which is told in two ways.
EVIDENCE = {"teacher": 1 / 4, "region": 1 / 4, "residual": 1 / 8, "cosine": 1 / 8, "image": 1 / 4}

# Positions along the side of a region.
_REGION = 2


def _join(scales: Sequence[Tensor]) -> Tensor:
    """Bring scales of shapes ``(N, C_l, H_l, W_l)`` to the coarsest one's grid by averaging, and concatenate them."""
    size = scales[-1].shape[-2:]
    return torch.cat([_pool(scale, size) for scale in scales], dim=1)


def _pool(scale: Tensor, size: Sequence[int]) -> Tensor:
    height, width = scale.shape[-2:]
    if height % size[0] == 0 and width % size[1] == 0:
        kernel = (height // size[0], width // size[1])
        # Strides are the teacher's, so this is the usual case; runtimes know it as a plain average.
        return scale if kernel == (1, 1) else F.avg_pool2d(scale, kernel)
    return F.adaptive_avg_pool2d(scale, (int(size[0]), int(size[1])))


def _regions(features: Tensor) -> Tensor:
    """Average features ``(N, C, H, W)`` over regions, half as many along each side."""
    height, width = features.shape[-2:]
    return _pool(features, (ceil(height / _REGION), ceil(width / _REGION)))


def _on_grid(values: Tensor, size: Sequence[int]) -> Tensor:
    """Interpolate values of regions, ``(N, H, W)``, between their centres."""
    return F.interpolate(values.unsqueeze(1), size=list(size), mode="bilinear").squeeze(1)


def _summary(scales: Sequence[Tensor]) -> Tensor:
    """Mean and standard deviation over positions of scales ``(N, C_l, H_l, W_l)``: one position ``(N, 2 C, 1, 1)``."""
    flat = [scale.float().flatten(2) for scale in scales]
    means = [scale.mean(2) for scale in flat]
    spreads = [(scale - mean.unsqueeze(2)).square().mean(2).sqrt() for scale, mean in zip(flat, means, strict=True)]
    return torch.cat([*means, *spreads], dim=1)[..., None, None]


class Evidence(nn.Module):
    r"""Evidence at each position of the coarsest scale's grid, for images as they are.

    ``teacher``: squared Mahalanobis distance of the teacher's features, all scales joined with their cross-covariances
    (Defard et al., ICPR 2021). ``region``: the same of their averages over regions of 2 x 2 positions, between whose
    centres it is interpolated; a faint defect that is larger than a position stands out there, and noise does less.
    ``residual``: that of the teacher's directions less the student's, likewise joined.
    ``cosine``: one minus their cosine, summed over the scales (Deng and Li, equation 1). ``image``: squared Mahalanobis
    distance of the means and standard deviations of the teacher's features over all positions (after Rippel, Mertens
    and Merhof, ICPR 2020), the same at each position; it knows nothing of where a part lies.

    Args:
        channels: Channels of each scale's features, fine to coarse.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.teacher = PositionGaussians(sum(channels))
        self.region = PositionGaussians(sum(channels))
        self.residual = PositionGaussians(sum(channels))
        self.image = PositionGaussians(2 * sum(channels))

    @property
    def gaussians(self) -> dict[str, PositionGaussians]:
        """The kinds that have statistics."""
        return {"teacher": self.teacher, "region": self.region, "residual": self.residual, "image": self.image}

    @property
    def known(self) -> bool:
        """Whether good images were seen; until then there is the cosine alone."""
        return self.teacher.known

    def _vectors(self, teacher: Sequence[Tensor], student: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return the features that there are statistics of, of shapes ``(N, C, H, W)``, by the kind of evidence."""
        directions = [F.normalize(t.float()) - F.normalize(s.float()) for t, s in zip(teacher, student, strict=True)]
        joined = _join(teacher)
        return {
            "teacher": joined,
            "region": _regions(joined),
            "residual": _join(directions),
            "image": _summary(teacher),
        }

    def reset(self) -> None:
        """Forget what was added up; what was learned from it stays."""
        for part in self.gaussians.values():
            part.reset()

    def update(self, teacher: Sequence[Tensor], student: Sequence[Tensor], held_back: Tensor) -> None:
        """Add up features of good images.

        Args:
            teacher: Features of shapes ``(N, C_l, H_l, W_l)``, fine to coarse.
            student: Features of the same shapes.
            held_back: Which images are to judge what is learned from the others, booleans of shape ``(N,)``.
        """
        for name, features in self._vectors(teacher, student).items():
            self.gaussians[name].update(features, held_back)

    def update_conditions(self, teacher: Sequence[Tensor], student: Sequence[Tensor], count: int) -> None:
        """Add up how features move when an image is taken in other conditions.

        Args:
            teacher: Features of ``count`` good images, followed by those of the same images in each other condition.
            student: Features of the same shapes.
            count: Number of images.
        """
        for name, features in self._vectors(teacher, student).items():
            self.gaussians[name].update_conditions(features[:count], features[count:])

    def update_teacher(self, teacher: Sequence[Tensor], held_back: Tensor) -> None:
        """Add up the teacher's joined features alone, as :meth:`update` does."""
        self.teacher.update(_join(teacher), held_back)

    def finish(self, reduce: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> None:
        """Learn from all images but those held back; see :meth:`PositionGaussians.finish`."""
        for part in self.gaussians.values():
            part.finish(reduce)

    def include_held_back(self) -> None:
        """Learn from all images; see :meth:`PositionGaussians.include_held_back`."""
        for part in self.gaussians.values():
            part.include_held_back()

    @staticmethod
    def cosine(teacher: Sequence[Tensor], student: Sequence[Tensor]) -> Tensor:
        """Return the cosine evidence alone, of shape ``(N, H, W)``, which needs no statistics."""
        deviations = [cosine_deviation(t, s).unsqueeze(1) for t, s in zip(teacher, student, strict=True)]
        return _join(deviations).sum(1)

    def forward(self, teacher: Sequence[Tensor], student: Sequence[Tensor]) -> Tensor:
        """Return the evidence.

        Args:
            teacher: Features of shapes ``(N, C_l, H_l, W_l)``, fine to coarse.
            student: Features of the same shapes.

        Returns:
            Tensor of shape ``(N, 5, H, W)``, at least 0, in the order of ``EVIDENCE``.

        Raises:
            ValueError: If no good images were seen, or they were of another size.
        """
        # Models of before regions were looked at know nothing of them.
        known = {name: part for name, part in self.gaussians.items() if part.known or part is not self.region}
        vectors = self._vectors(teacher, student)
        found = {name: part(vectors[name]) for name, part in known.items()}
        found["cosine"] = self.cosine(teacher, student)
        grid = found["teacher"]
        found["region"] = _on_grid(found["region"], grid.shape[-2:]) if "region" in found else torch.zeros_like(grid)
        return torch.stack([found[name].expand_as(grid) for name in EVIDENCE], dim=1)
