# SPDX-License-Identifier: Apache-2.0
"""Copy tensors of another program's modules into ours."""

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from .names import bottleneck_name, unused_by_authors

__all__ = ["load_bottleneck", "load_renamed"]


def load_renamed(
    module: nn.Module,
    tensors: Mapping[str, Tensor],
    rename: Callable[[str], str],
    prefix: str,
    misfit: str,
) -> None:
    """Load a state dict under our names; the tensors must match those of the module one to one.

    Args:
        module: Our module.
        tensors: State dict of the other program's module.
        rename: Converts one of their names to ours, with a ``ValueError`` for an unknown name.
        prefix: Prefix of these names in the file, for messages.
        misfit: Beginning of the message if the two do not fit, such as ``"a.pth does not fit backbone 'resnet18'"``.

    Raises:
        ValueError: At the first tensor that is unknown, has another shape or is missing.
    """
    places = module.state_dict()
    renamed: dict[str, Tensor] = {}
    for theirs, tensor in tensors.items():
        shape = tuple(tensor.shape)
        try:
            ours = rename(theirs)
        except ValueError as error:
            msg = f"{misfit}: {prefix}{theirs} is unknown ({error})"
            raise ValueError(msg) from error
        if ours not in places:
            msg = f"{misfit}: {prefix}{theirs} of shape {shape} has no place in the model."
            raise ValueError(msg)
        if shape != tuple(places[ours].shape):
            msg = f"{misfit}: {prefix}{theirs} has shape {shape}, expected {tuple(places[ours].shape)}."
            raise ValueError(msg)
        renamed[ours] = tensor
    if missing := [name for name in places if name not in renamed]:
        shape = tuple(places[missing[0]].shape)
        msg = f"{misfit}: among {prefix}* there is nothing for our {missing[0]} of shape {shape}."
        raise ValueError(msg)
    module.load_state_dict(renamed)


def load_bottleneck(bottleneck: nn.Module, tensors: Mapping[str, Tensor], prefix: str, misfit: str) -> None:
    """Load a bottleneck with the authors' names, without the layers that their forward pass never calls.

    Args and errors are those of :func:`load_renamed`.
    """
    unused = unused_by_authors(tensors)
    used = {name: tensor for name, tensor in tensors.items() if name not in unused}
    load_renamed(bottleneck, used, bottleneck_name, prefix, misfit)
