# SPDX-License-Identifier: Apache-2.0
"""A plain vision transformer as the teacher: group means of its middle blocks' tokens (Guo et al., CVPR 2025)."""

import importlib
import inspect
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor

from .pyramid import Pyramid, Stage
from .teacher import Teacher
from .tokens import grouped
from .weights import read_state_dict

__all__ = ["ViTTeacher", "build_teacher", "default_image_size", "is_plain_vit", "patch_size"]

# Dinomaly distils eight blocks of twelve: without the first two and the last two.
_BLOCKS, _SKIPPED, _DEPTH = 8, 2, 12
# The student is compared with the means of two groups of blocks.
_GROUPS = 2
# Side of images by default, in pixels, rounded to whole patches.
_SIDE = 256


def _create(backbone: str, **arguments: Any) -> Any:
    """Create a timm model without a classifier; it takes other image sizes where its family can."""
    try:
        return timm.create_model(backbone, num_classes=0, dynamic_img_size=True, **arguments)
    except TypeError:
        return timm.create_model(backbone, num_classes=0, **arguments)


@lru_cache(maxsize=64)
def _plan(backbone: str) -> Any:
    """The model without weights, if it is a plain vision transformer, else ``None``."""
    if not timm.is_model(backbone.partition(".")[0]):
        return None
    try:
        with torch.device("meta"):
            net = _create(backbone)
    except RuntimeError:  # an unknown tag
        return None
    if not all(hasattr(net, part) for part in ("forward_intermediates", "num_prefix_tokens", "patch_embed", "blocks")):
        return None
    takes = inspect.signature(net.forward_intermediates).parameters
    strides = {info["reduction"] for info in net.feature_info}
    return net if "return_prefix_tokens" in takes and len(strides) == 1 else None


def is_plain_vit(backbone: str) -> bool:
    """Return whether a timm model is a vision transformer all of whose blocks have one stride.

    Args:
        backbone: timm's name; ``False`` for an unknown one.

    Example:
        >>> is_plain_vit("vit_small_patch14_reg4_dinov2"), is_plain_vit("resnet18")
        (True, False)
    """
    return _plan(backbone) is not None


def patch_size(backbone: str) -> tuple[int, int]:
    """Return the height and width of a plain vision transformer's patch, in pixels.

    Args:
        backbone: timm's name.

    Example:
        >>> patch_size("vit_small_patch14_reg4_dinov2")
        (14, 14)
    """
    height, width = _plan(backbone).patch_embed.patch_size
    return height, width


def default_image_size(backbone: str) -> tuple[int, int] | None:
    """Return the image size that a vision transformer takes by default: 256 x 256 pixels, rounded to whole patches.

    Args:
        backbone: timm's name.

    Returns:
        Height and width in pixels; ``None`` for a backbone that is no plain vision transformer.

    Example:
        >>> default_image_size("vit_small_patch14_reg4_dinov2")
        (252, 252)
    """
    plan = _plan(backbone)
    if plan is None:
        return None
    if not hasattr(plan, "set_input_size"):
        return tuple(plan.patch_embed.img_size)
    height, width = (round(_SIDE / patch) * patch for patch in plan.patch_embed.patch_size)
    return height, width


def build_teacher(
    backbone: str,
    layers: Sequence[str] | None = None,
    pre_trained: bool | str | Path = True,
    with_embedding: bool = False,
    trainable: bool = False,
) -> Teacher:
    """Build a teacher of the kind that the backbone is.

    Args:
        backbone: timm's name.
        layers: As in :class:`Teacher` or :class:`ViTTeacher`.
        pre_trained: Likewise.
        with_embedding: As in :class:`Teacher`.
        trainable: Whether the weights can be trained; otherwise they are frozen.

    Raises:
        ValueError: If the backbone is unknown or a layer does not exist.
    """
    kind = ViTTeacher if is_plain_vit(backbone) else Teacher
    return kind(backbone, layers, pre_trained, with_embedding, trainable)


class ViTTeacher(Teacher):
    """A plain vision transformer of timm's, such as DINOv2, DINOv3, MAE, DeiT, CLIP or SigLIP.

    The chosen blocks are averaged in two groups, the first and the second half; the student is compared with these. The
    blocks after the last one chosen are not run, and no final norm is applied.

    Args:
        backbone: timm's name.
        layers: Blocks to distil, such as ``["blocks.2", "blocks.5"]``; by default the middle eight of twelve, and of
            deeper models every second, third and so on, as in Dinomaly.
        pre_trained: ``True`` for timm's weights (downloaded), ``False`` for random ones, or a file or package with
            weights, under timm's names or those of DINOv2, DINOv3 and others that timm converts.
        with_embedding: Must be ``False``: there is no stage after the coarsest.
        trainable: Whether the weights can be trained.

    Attributes:
        pyramid: One stage for each group of blocks, all of the patches' stride.
        groups: Number of blocks in each group.
        image_size: Height and width of images, in pixels, that the position table is made for. Other sizes work,
            too, if the backbone supports them, but the table is then resampled in each pass, and the model cannot be
            exported.

    Raises:
        ValueError: If a layer does not exist.
    """

    net: Any
    image_size: Tensor

    def _build(self, layers: Sequence[str] | None, with_embedding: bool) -> None:
        if with_embedding:
            msg = (
                f"bottleneck 'none' needs a stage after the coarsest, and {self.backbone!r} is a plain ViT without one."
            )
            raise ValueError(msg)
        self.net = _create(self.backbone)
        infos: list[dict[str, Any]] = list(self.net.feature_info)
        self._indices = tuple(self._select(layers, infos))
        self.net.prune_intermediate_layers(list(self._indices), prune_norm=True, prune_head=True)
        half = -(-len(self._indices) // _GROUPS)
        self.groups = tuple(size for size in (half, len(self._indices) - half) if size)
        self._layers = tuple(infos[index]["module"] for index in self._indices)
        channels, stride = infos[self._indices[0]]["num_chs"], infos[self._indices[0]]["reduction"]
        firsts = [sum(self.groups[:index]) for index in range(len(self.groups))]
        names = ["+".join(self._layers[first : first + size]) for first, size in zip(firsts, self.groups, strict=True)]
        stages = tuple(Stage(name, channels, stride) for name in names)
        self.pyramid = Pyramid(stages, tuple(names), Stage("embedding", channels, stride))
        # The shape of a table does not give its height and width.
        self.register_buffer("image_size", torch.tensor(self.size))
        self._wanted = self.size
        self.register_load_state_dict_post_hook(_take_wanted_size)

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the distilled blocks."""
        return self._layers

    @property
    def heads(self) -> int:
        """Number of attention heads of a block."""
        return int(self.net.blocks[0].attn.num_heads)

    @property
    def has_class_token(self) -> bool:
        """Whether the first token of the prefix is a class token; there may be registers alone."""
        return getattr(self.net, "cls_token", None) is not None

    @property
    def prefix_tokens(self) -> int:
        """Number of tokens before the patches: class and registers."""
        return int(self.net.num_prefix_tokens)

    @property
    def patch(self) -> tuple[int, int]:
        """Height and width of a patch, in pixels."""
        height, width = self.net.patch_embed.patch_size
        return height, width

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the images that the position table is made for, in pixels."""
        height, width = self.net.patch_embed.img_size
        return height, width

    def _select(self, layers: Sequence[str] | None, infos: Sequence[dict[str, Any]]) -> list[int]:
        names = [info["module"] for info in infos]
        offered = f"{names[0]!r} to {names[-1]!r}"
        if layers is None:
            count, step = min(_BLOCKS, len(names)), max(1, len(names) // _DEPTH)
            start = _SKIPPED * step if len(names) >= _DEPTH else (len(names) - count) // 2
            return [start + step * index for index in range(count)]
        if isinstance(layers, str) or not layers:
            msg = f"layers must be a non-empty list of blocks of {self.backbone!r}, got {layers!r}; it has {offered}."
            raise ValueError(msg)
        if unknown := [layer for layer in layers if layer not in names]:
            msg = f"layers: {unknown[0]!r} does not exist in backbone {self.backbone!r}; it has {offered}."
            raise ValueError(msg)
        if len(set(layers)) != len(layers):
            msg = f"layers must differ, got {list(layers)}; {self.backbone!r} has {offered}."
            raise ValueError(msg)
        return sorted(names.index(layer) for layer in layers)

    def _check(self, size: Sequence[int], argument: str, made_for: bool = False) -> None:
        """Check that images of a height and width, in pixels, are made of whole patches, or are what it is made for."""
        fits = [max(1, round(side / patch)) * patch for side, patch in zip(size, self.patch, strict=True)]
        made_for = made_for or not hasattr(self.net, "set_input_size")
        if made_for:
            fits = list(self.size)
        if list(size) != fits:
            patch = f"{self.patch[0]} x {self.patch[1]}"
            rule = "takes one size" if made_for else f"cuts images into patches of {patch} pixels"
            msg = f"{argument} must be another, such as {fits}: {self.backbone!r} {rule}, got {list(size)}."
            raise ValueError(msg)

    def set_size(self, size: Sequence[int]) -> None:
        """Make the position table for images of a height and width, in pixels, and resample it if it has been read.

        Raises:
            ValueError: If images of that size are not made of whole patches; the message names one that is.
        """
        self._check(size, "image_size")
        self._wanted = (int(size[0]), int(size[1]))
        self._resample()

    def _resample(self, size: tuple[int, int] | None = None) -> None:
        """Make the position table for images of a size, by default of that which was set last."""
        size = size or self._wanted
        if size != self.size:
            self.net.set_input_size(img_size=size)
            self.image_size.copy_(torch.tensor(size))

    @staticmethod
    def _before_state_is_loaded(module: Teacher, state_dict: Mapping[str, Any], prefix: str, *rest: object) -> None:
        """Make room for the checkpoint's position table."""
        if isinstance(module, ViTTeacher) and f"{prefix}image_size" in state_dict:
            height, width = state_dict[f"{prefix}image_size"].tolist()
            module._resample((height, width))  # noqa: SLF001  # the hook is given its own module
        Teacher._before_state_is_loaded(module, state_dict, prefix, *rest)  # noqa: SLF001  # its own class

    def embedding_positions(self, size: Sequence[int], argument: str = "image_size") -> int:
        """Return the number of tokens of an image; see :meth:`Teacher.embedding_positions`."""
        self._check(size, argument)
        patches = math.prod(side // patch for side, patch in zip(size, self.patch, strict=True))
        return patches + self.prefix_tokens

    def _download(self, **source: str) -> dict[str, Tensor]:
        return _create(
            self.backbone, pretrained=True, img_size=self.size, pretrained_cfg_overlay=source or None
        ).state_dict()

    def _read(self, path: Path) -> dict[str, Tensor]:
        # timm's own conversion of the names of DINOv2, DINOv3, CLIP and others; it resamples the position table, too.
        convert = importlib.import_module(type(self.net).__module__).checkpoint_filter_fn
        misfit = f"pre_trained {str(path)!r} does not fit backbone {self.backbone!r}"
        try:
            state = convert(read_state_dict(path), self.net)
        except (AttributeError, IndexError, KeyError, RuntimeError) as error:
            msg = f"{misfit}: {str(error).partition(chr(10))[0]}"
            raise ValueError(msg) from error
        own = self.net.state_dict()
        for name, tensor in own.items():
            if name not in state:
                msg = f"{misfit}: there is no {name}."
                raise ValueError(msg)
            if state[name].shape != tensor.shape:
                msg = f"{misfit}: {name} has shape {tuple(state[name].shape)}, expected {tuple(tensor.shape)}."
                raise ValueError(msg)
        return {name: state[name] for name in own}

    def forward(self, images: Tensor) -> list[Tensor]:
        """Extract the features.

        Args:
            images: Normalized images of shape ``(N, 3, H, W)``, whose sides are multiples of the patch's.

        Returns:
            The mean of each group of blocks as a map of shape ``(N, C, h, w)``; then, if there are any, the means of
            class and register tokens, of shape ``(N, C, groups, tokens)``.

        Raises:
            ValueError: If the images are not made of whole patches.
        """
        self.load_pretrained()
        height, width = images.shape[-2:]
        if isinstance(height, int) and isinstance(width, int):
            self._check(
                (height, width), "the size of images", made_for=not getattr(self.net, "dynamic_img_size", False)
            )
        outputs = self.net.forward_intermediates(
            images,
            indices=list(self._indices),
            return_prefix_tokens=self.net.num_prefix_tokens > 0,
            norm=False,
            stop_early=True,
            output_fmt="NLC",
            intermediates_only=True,
        )
        # Without prefix tokens timm gives the patches alone.
        blocks = [output if isinstance(output, Tensor) else torch.cat(output[::-1], dim=1) for output in outputs]
        return grouped(blocks, self.groups, (height // self.patch[0], width // self.patch[1]))


def _take_wanted_size(teacher: ViTTeacher, *_: object) -> None:
    """Resample the position table that a checkpoint has brought to the size of the model."""
    teacher._resample()  # noqa: SLF001  # a hook of its own class
