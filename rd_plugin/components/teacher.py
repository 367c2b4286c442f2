# SPDX-License-Identifier: Apache-2.0
"""The teacher: a timm backbone that offers a feature pyramid."""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import deepcopy
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import resnet
from torch import Tensor, nn

from .hub import hub_source
from .kept_weights import read_once
from .pyramid import Pyramid, Residual, Stage
from .weights import find_weights, load_matched

__all__ = ["PAPER_STRIDES", "Teacher"]

logger = logging.getLogger(__name__)

# The paper distils the first three residual stages of a ResNet.
PAPER_STRIDES = (4, 8, 16)
# The geometric mean of the widths of ResNets with basic and with bottleneck blocks.
_WIDE_CHANNELS_PER_STRIDE = 32


def _create(
    backbone: str, pretrained: bool = False, out_indices: Sequence[int] | None = None, **source: str
) -> nn.Module:
    """Create a timm feature extractor, with errors that name the argument.

    Args:
        backbone: timm's name.
        pretrained: Whether to read timm's weights.
        out_indices: The stages.
        **source: Where to read them, if not from timm's download.
    """
    architecture = backbone.partition(".")[0]
    if not timm.is_model(architecture):
        near = get_close_matches(architecture, timm.list_models(), n=3, cutoff=0.5)
        hint = f" Did you mean {', '.join(repr(name) for name in near)}?" if near else ""
        msg = f"backbone {backbone!r} is unknown to timm {timm.__version__}.{hint} timm.list_models() lists all."
        raise ValueError(msg)
    try:
        return timm.create_model(
            backbone,
            pretrained=pretrained,
            features_only=True,
            out_indices=out_indices,
            pretrained_cfg_overlay=source or None,
        )
    except RuntimeError as error:
        if "pretrained" in str(error).lower() or "tag" in str(error).lower():
            msg = f"backbone {backbone!r}: {error}"
        else:
            msg = f"backbone {backbone!r} offers no feature pyramid (timm's features_only): {error}"
        raise ValueError(msg) from error


def _drop_unused(net: nn.Module, coarsest: str) -> None:
    """Drop the stages after the coarsest one needed, which timm's EfficientNets and MobileNets keep and run."""
    name, _, index = coarsest.rpartition(".")
    stages = getattr(net, name, None)
    if isinstance(stages, nn.Sequential) and index.isdecimal():
        setattr(net, name, stages[: int(index) + 1])


def _residual_of(module: nn.Module | None, info: dict[str, Any]) -> tuple[Residual, bool]:
    """Derive the student's blocks from a backbone's stage, and whether the stage's output is rectified.

    A ResNet's student repeats its blocks. Any other family's gets basic blocks if its stage is as narrow as those of
    ResNets with basic blocks (16 channels per pixel of stride, where bottleneck ResNets have 64), else bottleneck ones.
    """
    blocks = list(module.children()) if isinstance(module, nn.Sequential) else []
    last = blocks[-1] if blocks else None
    if isinstance(last, resnet.Bottleneck) and isinstance(last.act3, nn.ReLU):
        return Residual(len(blocks), last.conv2.out_channels, last.conv2.groups), True
    if isinstance(last, resnet.BasicBlock) and isinstance(last.act2, nn.ReLU):
        return Residual(len(blocks)), True
    wide = info["num_chs"] >= _WIDE_CHANNELS_PER_STRIDE * info["reduction"]
    return Residual(width=info["num_chs"] // resnet.Bottleneck.expansion if wide else None), False


def _embedding_after(coarsest: Stage, infos: Sequence[dict[str, Any]]) -> Stage:
    """The stage that the bottleneck ends in: the backbone's next stage, with the blocks of its family."""
    stride = 2 * coarsest.stride
    spec = coarsest.residual
    if coarsest.rectified:
        # A ResNet's next stage doubles all widths; the authors give it 2 basic or 3 bottleneck blocks.
        width = spec.width and 2 * spec.width
        depth = 2 if width is None else 3
        return Stage("embedding", 2 * coarsest.channels, stride, Residual(depth, width, spec.groups), rectified=True)
    channels = next((info["num_chs"] for info in infos if info["reduction"] == stride), 2 * coarsest.channels)
    width = spec.width and channels // resnet.Bottleneck.expansion
    return Stage("embedding", channels, stride, Residual(spec.depth, width))


class Teacher(nn.Module):
    """A timm backbone whose stages give the features to be distilled, in evaluation mode unless it is trained.

    Weights are read when they are first needed, by :meth:`load_pretrained` or the first forward pass. They are not read
    if a checkpoint has been loaded: a model restored from a checkpoint needs neither network access nor a weights file.

    Args:
        backbone: Name of a timm model that supports ``features_only``, with or without a tag for its weights.
        layers: Module names of the stages to distil, as in timm's ``feature_info``, or ``None`` for those of strides
            4, 8 and 16, the paper's three.
        pre_trained: ``True`` for timm's weights (downloaded), ``False`` for random ones, or a file or an installed
            package with weights.
        with_embedding: Whether the stage after the coarsest is returned, too.
        trainable: Whether the weights can be trained; otherwise they are frozen.

    Attributes:
        pyramid: The stages, from which bottleneck and student are built.

    Raises:
        ValueError: If the backbone is unknown or has no pyramid, or a layer does not exist.
    """

    def __init__(
        self,
        backbone: str,
        layers: Sequence[str] | None = None,
        pre_trained: bool | str | Path = True,
        with_embedding: bool = False,
        trainable: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.pre_trained = pre_trained
        self._build(layers, with_embedding)
        self.net.requires_grad_(trainable)
        self._weights_pending = True
        self.register_load_state_dict_pre_hook(self._before_state_is_loaded)
        self.eval()
        if pre_trained is False:
            logger.warning(
                "The teacher %r has random weights (pre_trained=False): use it only to test shapes and speed.",
                backbone,
            )

    def _build(self, layers: Sequence[str] | None, with_embedding: bool) -> None:
        """Build the network with random weights, and describe its stages."""
        with torch.device("meta"):
            plan = _create(self.backbone)
        infos: list[dict[str, Any]] = list(plan.feature_info.info)  # type: ignore[union-attr, arg-type]
        indices = self._select(layers, infos)
        if with_embedding:
            indices.append(self._embedding_index(indices[-1], infos))
        self._indices = tuple(indices)
        self.net = _create(self.backbone, out_indices=self._indices)
        _drop_unused(self.net, infos[indices[-1]]["module"])
        self._channels_last = getattr(self.net, "output_fmt", "NCHW") == "NHWC"
        self.pyramid = self._pyramid(indices[:-1] if with_embedding else indices, infos)
        given, needed = infos[indices[-1]]["num_chs"], self.pyramid.embedding.channels
        if with_embedding and given != needed:
            msg = (
                f"bottleneck 'none' needs a stage of {needed} channels after the coarsest of layers, but "
                f"{infos[indices[-1]]['module']!r} of {self.backbone!r} has {given}; choose 'oce' or 'mff_oce'."
            )
            raise ValueError(msg)

    @property
    def layers(self) -> tuple[str, ...]:
        """Module names of the layers that the features come from."""
        return self.pyramid.distilled

    def set_size(self, size: Sequence[int]) -> None:
        """Prepare for images of a height and width, in pixels; a pyramid takes all sizes as it is."""

    def _select(self, layers: Sequence[str] | None, infos: Sequence[dict[str, Any]]) -> list[int]:
        """Indices of the chosen stages in ``feature_info``, fine to coarse."""
        offered = ", ".join(f"{info['module']!r} (stride {info['reduction']})" for info in infos)
        if layers is None:
            strides = [info["reduction"] for info in infos]
            if not set(PAPER_STRIDES) <= set(strides):
                msg = f"layers: backbone {self.backbone!r} has no stages of strides 4, 8 and 16; choose from {offered}."
                raise ValueError(msg)
            # If two stages share a stride, the later one is the complete stage.
            return [len(strides) - 1 - strides[::-1].index(stride) for stride in PAPER_STRIDES]
        if isinstance(layers, str) or not layers:
            msg = f"layers must be a non-empty list of stages of {self.backbone!r}, got {layers!r}; it has {offered}."
            raise ValueError(msg)
        names = [info["module"] for info in infos]
        if unknown := [layer for layer in layers if layer not in names]:
            msg = f"layers: {unknown[0]!r} does not exist in backbone {self.backbone!r}; it has {offered}."
            raise ValueError(msg)
        indices = sorted(names.index(layer) for layer in layers)
        strides = [infos[index]["reduction"] for index in indices]
        if len(set(strides)) != len(strides):
            msg = f"layers must differ in stride, got {list(layers)} with strides {strides}; choose from {offered}."
            raise ValueError(msg)
        return indices

    def _embedding_index(self, coarsest: int, infos: Sequence[dict[str, Any]]) -> int:
        """Index of the stage at twice the coarsest stride."""
        for index in range(len(infos) - 1, coarsest, -1):
            if infos[index]["reduction"] == 2 * infos[coarsest]["reduction"]:
                return index
        msg = (
            f"bottleneck 'none' needs the stage after the coarsest of layers, but {infos[coarsest]['module']!r} is the "
            f"last of {self.backbone!r}; leave it out of layers or choose 'oce' or 'mff_oce'."
        )
        raise ValueError(msg)

    def _pyramid(self, indices: Sequence[int], infos: Sequence[dict[str, Any]]) -> Pyramid:
        """Every stride from the finest chosen stage to the coarsest, with the backbone's stage at that stride."""
        chosen = {infos[index]["reduction"]: infos[index] for index in indices}
        coarsest = infos[indices[-1]]
        stages: list[Stage] = []
        stride = infos[indices[0]]["reduction"]
        while stride <= coarsest["reduction"]:
            at_stride = [info for info in infos if info["reduction"] == stride]
            info = chosen.get(stride) or (at_stride[-1] if at_stride else {**coarsest, "module": f"stride {stride}"})
            residual, rectified = _residual_of(getattr(self.net, info["module"], None), info)
            stages.append(Stage(info["module"], info["num_chs"], stride, residual, rectified))
            stride *= 2
        distilled = tuple(info["module"] for info in chosen.values())
        if not set(distilled) <= {stage.name for stage in stages}:
            msg = f"layers must have strides that double, got {sorted(chosen)} in backbone {self.backbone!r}."
            raise ValueError(msg)
        return Pyramid(tuple(stages), distilled, _embedding_after(stages[-1], infos))

    def embedding_positions(self, size: Sequence[int], argument: str = "image_size") -> int:
        """Return the number of positions in the embedding of an image, and check that the backbone accepts its size.

        Args:
            size: Height and width of images, in pixels.
            argument: The argument that sets the size, for the message.

        Raises:
            ValueError: If the backbone does not accept images of that size; the message names one that it accepts.
        """
        self._check_least(*size)
        try:
            grid = self._coarsest_grid(size)
        except Exception as error:  # each backbone's own
            step = 2 * self.pyramid.stages[-1].stride
            rounded = tuple(-(-side // step) * step for side in size)
            usual = timm.get_pretrained_cfg(self.backbone.partition(".")[0])
            known = [] if usual is None else [tuple(usual.input_size[1:])]
            # Multiples of a stride or window, or a single size.
            fits = next((other for other in (rounded, *known) if self._takes(other)), None)
            only = fits != rounded and usual is not None and usual.fixed_input_size
            needed = "another" if fits is None else f"{'' if only else 'a size such as '}{list(fits)}"
            reason = str(error).partition("\n")[0].rstrip(".")
            msg = f"{argument} must be {needed} for backbone {self.backbone!r}, got {list(size)} ({reason})."
            raise ValueError(msg) from error
        return math.prod(grid if len(self._indices) > len(self.pyramid.targets) else (-(-side // 2) for side in grid))

    def _check_least(self, height: int, width: int) -> None:
        """Check that images are not smaller than the coarsest stride."""
        least = self.pyramid.stages[-1].stride
        if min(height, width) < least:
            msg = (
                f"images of {height} x {width} pixels are too small for layers {list(self.pyramid.distilled)} of "
                f"backbone {self.backbone!r}: at least {least} x {least} are needed."
            )
            raise ValueError(msg)

    def _takes(self, size: Sequence[int]) -> bool:
        try:
            self._coarsest_grid(size)
        except Exception:  # each backbone's own
            return False
        return True

    @torch.no_grad()
    def _coarsest_grid(self, size: Sequence[int]) -> tuple[int, int]:
        """Height and width of the features of the last stage, for images of a size."""
        like = next(self.net.parameters())
        coarsest = self.net(torch.zeros(1, 3, *size, dtype=like.dtype, device=like.device))[-1]
        height, width = coarsest.shape[1:3] if self._channels_last else coarsest.shape[2:]
        return int(height), int(width)

    def load_pretrained(self) -> None:
        """Read the weights that ``pre_trained`` names, unless this has been done.

        Raises:
            FileNotFoundError: If ``pre_trained`` is neither a file nor an installed package with one weights file.
            ValueError: If the weights do not fit the backbone.
            ConnectionError: If timm cannot download its weights.
        """
        if not self._weights_pending:
            return
        if self.pre_trained is True:
            try:
                weights = self._read_once("", lambda: self._download(**hub_source(self.backbone)))
            except OSError as error:
                msg = (
                    f"timm's weights of backbone {self.backbone!r} could not be downloaded ({error}). Without a "
                    "network, give pre_trained the path of a weights file or the name of an installed package with one."
                )
                raise ConnectionError(msg) from error
            self.net.load_state_dict({name: weights[name] for name in self.net.state_dict()})
        elif self.pre_trained is not False:
            path = find_weights(self.pre_trained)
            self.net.load_state_dict(self._read_once(f"{path} {path.stat().st_mtime_ns}", lambda: self._read(path)))
        self._weights_pending = False

    def _read_once(self, source: str, read: Callable[[], dict[str, Tensor]]) -> dict[str, Tensor]:
        """Return the weights of a source, as read or kept: those of the same layers, for the same image size."""
        shapes = tuple((name, tensor.shape) for name, tensor in self.net.state_dict().items())
        return read_once((self.backbone, source, shapes), read)

    def _download(self, **source: str) -> dict[str, Tensor]:
        """Return timm's weights by name, downloaded or from where ``source`` says."""
        return _create(self.backbone, out_indices=self._indices, pretrained=True, **source).state_dict()

    def _read(self, path: Path) -> dict[str, Tensor]:
        """Return the weights of a file by name."""
        return load_matched(path, self.backbone, self.net, self._indices)

    @staticmethod
    def _before_state_is_loaded(module: "Teacher", state_dict: Mapping[str, Any], prefix: str, *_: object) -> None:
        """Note that a checkpoint provides the weights."""
        if all(f"{prefix}net.{name}" in state_dict for name in module.net.state_dict()):
            module._weights_pending = False  # noqa: SLF001  # the hook is given its own module

    def train(self, mode: bool = True) -> "Teacher":
        """Stay in evaluation mode: the student learns features that depend on the batch norms' statistics."""
        del mode
        return super().train(mode=False)

    @contextmanager
    def training_mode(self) -> Iterator[None]:
        """Training mode within a ``with`` block: batch norms use the batch's statistics and update their own."""
        super().train(mode=True)
        try:
            yield
        finally:
            super().train(mode=False)

    def expert(self) -> "Teacher":
        """Return a frozen teacher with the weights that ``pre_trained`` names, also if this one has been trained since.

        With random weights (``pre_trained=False``) the expert gets this teacher's present weights.

        Raises:
            FileNotFoundError: If ``pre_trained`` is neither a file nor an installed package with one weights file.
            ValueError: If the weights do not fit the backbone.
            ConnectionError: If timm cannot download its weights.
        """
        expert = deepcopy(self)
        expert.requires_grad_(requires_grad=False)
        expert._weights_pending = True  # noqa: SLF001  # a copy of itself
        expert.load_pretrained()
        return expert

    def forward(self, images: Tensor) -> list[Tensor]:
        """Extract the features.

        Args:
            images: Normalized images of shape ``(N, 3, H, W)``.

        Returns:
            Features of shapes ``(N, C_l, H_l, W_l)``, fine to coarse; with ``with_embedding`` one more at the end.

        Raises:
            ValueError: If the images are smaller than the coarsest stage's stride.
        """
        self.load_pretrained()
        height, width = images.shape[-2:]
        # While a graph is exported, a size may be unknown.
        if isinstance(height, int) and isinstance(width, int):
            self._check_least(height, width)
        if images.device.type in {"cpu", "cuda"} and not torch.compiler.is_compiling():
            # Convolutions are faster in this layout, and all later layers inherit it.
            images = images.contiguous(memory_format=torch.channels_last)
        features = self.net(images)
        return [feature.permute(0, 3, 1, 2) for feature in features] if self._channels_last else features
