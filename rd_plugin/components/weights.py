# SPDX-License-Identifier: Apache-2.0
"""Teacher weights from local files: find them, read them without running code, and map them to timm's names."""

import logging
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from rd_plugin.storage.safe_reading import read_plain

__all__ = ["find_weights", "load_matched", "read_state_dict"]

logger = logging.getLogger(__name__)

_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
# Keys under which training programs store the weights among other things.
_CONTAINERS = ("state_dict", "model_state_dict", "model", "module")
_COUNTER = "num_batches_tracked"


def find_weights(source: str | Path) -> Path:
    """Find a weights file.

    Args:
        source: Path of a file, or name of an installed package that contains exactly one.

    Returns:
        Path of the file.

    Raises:
        FileNotFoundError: If ``source`` is neither.
    """
    path = Path(source).expanduser()
    if path.is_file():
        return path
    name = str(source).replace("-", "_")
    spec = find_spec(name) if name.isidentifier() else None
    if spec is None:
        msg = (
            f"pre_trained {str(source)!r} is neither a file nor an installed package. Accepted: true, false, the path "
            f"of a weights file ({', '.join(_SUFFIXES)}) or the name of an installed package with one."
        )
        raise FileNotFoundError(msg)
    found = sorted(
        file
        for folder in spec.submodule_search_locations or ()
        for file in Path(folder).rglob("*")
        if file.suffix in _SUFFIXES
    )
    if len(found) != 1:
        listed = ", ".join(str(file) for file in found) or "none"
        msg = f"pre_trained {str(source)!r}: the package must contain one weights file, found {listed}; give a path."
        raise FileNotFoundError(msg)
    return found[0]


def read_state_dict(path: str | Path) -> dict[str, Tensor]:
    """Read named tensors from a file, without running code from it.

    Args:
        path: A safetensors file or one written by ``torch.save``.

    Returns:
        Tensors by name; wrappers such as ``{"state_dict": ...}`` and the prefix ``module.`` are removed.

    Raises:
        ValueError: If the file cannot be read this way or contains no named tensors.
    """
    path = Path(path)
    try:
        content = load_file(path) if path.suffix == ".safetensors" else read_plain(path)
    except (OSError, SafetensorError, ValueError) as error:
        msg = f"{path} could not be read as weights (plain tensors, no pickled code): {error}"
        raise ValueError(msg) from error
    for key in _CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        msg = f"{path} contains no named tensors; expected a state dict."
        raise ValueError(msg)
    return {str(name).removeprefix("module."): tensor for name, tensor in content.items()}


def load_matched(path: Path, backbone: str, extractor: nn.Module, indices: Sequence[int]) -> dict[str, Tensor]:
    """Read a backbone's weights from a file and return them under the names of its feature extractor.

    Names are used as they are if the file has all of timm's. Otherwise tensors are matched by their order, which is
    accepted only if their number and all shapes agree.

    Args:
        path: The weights file, of the whole backbone; its classifier may be missing.
        backbone: timm's name.
        extractor: ``timm.create_model(backbone, features_only=True, out_indices=indices)``, or a part of it.
        indices: ``out_indices`` of the feature extractor.

    Returns:
        State dict for ``extractor``.

    Raises:
        ValueError: If the file does not fit the backbone.
    """
    state = read_state_dict(path)
    with torch.device("meta"):
        whole = timm.create_model(backbone, pretrained=False)
    wanted = {name: tensor.shape for name, tensor in whole.state_dict().items() if not name.endswith(_COUNTER)}
    classifiers = whole.pretrained_cfg.get("classifier") or ()  # type: ignore[operator, union-attr]
    classifiers = (classifiers,) if isinstance(classifiers, str) else tuple(classifiers)
    needed = {name: shape for name, shape in wanted.items() if name.rpartition(".")[0] not in classifiers}
    if not needed.keys() <= state.keys():
        state = _match_by_order(state, wanted, path, backbone)
    for name, shape in needed.items():
        if state[name].shape != shape:
            msg = (
                f"pre_trained {str(path)!r} does not fit backbone {backbone!r}: {name} has shape "
                f"{tuple(state[name].shape)}, expected {tuple(shape)}."
            )
            raise ValueError(msg)
    own = extractor.state_dict()
    if all(name in state or name.endswith(_COUNTER) for name in own):
        return {name: state.get(name, tensor) for name, tensor in own.items()}
    # The extractor renames nested stages; timm does this itself if it loads the weights before it extracts.
    loaded = timm.create_model(
        backbone,
        pretrained=True,
        features_only=True,
        out_indices=tuple(indices),
        pretrained_cfg_overlay={"state_dict": dict(state)},
    )
    renamed = loaded.state_dict()
    return {name: renamed[name] for name in own}


def _match_by_order(
    state: Mapping[str, Tensor],
    wanted: Mapping[str, torch.Size],
    path: Path,
    backbone: str,
) -> dict[str, Tensor]:
    """Assign timm's names to tensors in order; raise an error unless every shape agrees."""
    tensors = [(name, tensor) for name, tensor in state.items() if not name.endswith(_COUNTER)]
    for (theirs, tensor), (ours, shape) in zip(tensors, wanted.items(), strict=False):
        if tensor.shape != shape:
            msg = (
                f"pre_trained {str(path)!r} does not fit backbone {backbone!r}: neither its names nor the order of its "
                f"shapes are timm's; {theirs} has shape {tuple(tensor.shape)} where {ours} has {tuple(shape)}."
            )
            raise ValueError(msg)
    if len(tensors) != len(wanted):
        msg = (
            f"pre_trained {str(path)!r} does not fit backbone {backbone!r}: it has {len(tensors)} tensors, "
            f"expected {len(wanted)}."
        )
        raise ValueError(msg)
    logger.info("Matched the %d tensors of %s to %s by order and shape.", len(tensors), path, backbone)
    return {ours: tensor for (_, tensor), ours in zip(tensors, wanted, strict=True)}
