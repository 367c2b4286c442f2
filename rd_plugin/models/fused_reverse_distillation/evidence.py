# SPDX-License-Identifier: Apache-2.0
"""What teacher and student have to say about each position: three kinds of evidence on one grid."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from rd_plugin.components import PositionGaussians, cosine_deviation

__all__ = ["EVIDENCE", "Evidence"]

# In the order in which they are stacked.
EVIDENCE = ("teacher", "residual", "cosine")


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


class Evidence(nn.Module):
    r"""Evidence at each position of the coarsest scale's grid, for images as they are.

    ``teacher``: squared Mahalanobis distance of the teacher's features, all scales joined with their cross-covariances
    (Defard et al., ICPR 2021). ``residual``: that of the teacher's directions less the student's, likewise joined.
    ``cosine``: one minus their cosine, summed over the scales (Deng and Li, equation 1).

    Args:
        channels: Channels of each scale's features, fine to coarse.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.teacher = PositionGaussians(sum(channels))
        self.residual = PositionGaussians(sum(channels))

    @property
    def known(self) -> bool:
        """Whether good images were seen; until then there is the cosine alone."""
        return self.teacher.known and self.residual.known

    @staticmethod
    def _residuals(teacher: Sequence[Tensor], student: Sequence[Tensor]) -> Tensor:
        return _join([F.normalize(t.float()) - F.normalize(s.float()) for t, s in zip(teacher, student, strict=True)])

    def reset(self) -> None:
        """Forget what :meth:`update` has added up; what was learned from it stays."""
        self.teacher.reset()
        self.residual.reset()

    def update(self, teacher: Sequence[Tensor], student: Sequence[Tensor], held_back: Tensor) -> None:
        """Add up features of good images.

        Args:
            teacher: Features of shapes ``(N, C_l, H_l, W_l)``, fine to coarse.
            student: Features of the same shapes.
            held_back: Which images are to judge what is learned from the others, booleans of shape ``(N,)``.
        """
        self.update_teacher(teacher, held_back)
        self.residual.update(self._residuals(teacher, student), held_back)

    def update_teacher(self, teacher: Sequence[Tensor], held_back: Tensor) -> None:
        """Add up the teacher's features alone, as :meth:`update` does."""
        self.teacher.update(_join(teacher), held_back)

    def finish(self, reduce: Callable[[Tensor], Tensor] = lambda tensor: tensor) -> None:
        """Learn from all images but those held back; see :meth:`PositionGaussians.finish`."""
        self.teacher.finish(reduce)
        self.residual.finish(reduce)

    def include_held_back(self) -> None:
        """Learn from all images; see :meth:`PositionGaussians.include_held_back`."""
        self.teacher.include_held_back()
        self.residual.include_held_back()

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
            Tensor of shape ``(N, 3, H, W)``, at least 0, in the order of ``EVIDENCE``.

        Raises:
            ValueError: If no good images were seen, or they were of another size.
        """
        return torch.stack(
            [
                self.teacher(_join(teacher)),
                self.residual(self._residuals(teacher, student)),
                self.cosine(teacher, student),
            ],
            dim=1,
        )
