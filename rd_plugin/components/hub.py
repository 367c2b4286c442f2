# SPDX-License-Identifier: Apache-2.0
"""timm's weights on the Hugging Face Hub: taken from the cache, or known to be out of reach without a minute's wait."""

from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.utils import get_session  # type: ignore[attr-defined]  # documented, and not in its __all__
from timm.models import get_pretrained_cfg

__all__ = ["hub_source"]

# In the order in which timm looks for them.
_FILES = ("model.safetensors", "pytorch_model.bin")
# How long the Hub may take to answer, in seconds.
_PATIENCE = 10


def hub_source(backbone: str) -> dict[str, str]:
    """Find out where timm is to get a backbone's weights.

    Asked for weights that it cannot reach, the Hub's client tries for a minute.

    Args:
        backbone: timm's name, with or without a tag.

    Returns:
        What timm's ``pretrained_cfg`` is overlaid with: the file, if the Hub's cache has it, so that no network is
        needed; nothing, if it is to be downloaded.

    Raises:
        OSError: If the weights are on the Hub, not in its cache, and the Hub cannot be reached.
    """
    config = get_pretrained_cfg(backbone)
    if config is None or not config.hf_hub_id or config.hf_hub_filename:
        return {}
    for name in _FILES:
        cached = try_to_load_from_cache(config.hf_hub_id, name)
        if isinstance(cached, str):
            return {"file": cached}
    try:
        get_session().head(constants.ENDPOINT, timeout=_PATIENCE)
    except Exception as error:  # of the HTTP library, which is another in each version of the Hub's client
        msg = f"{constants.ENDPOINT} cannot be reached: {error}"
        raise OSError(msg) from error
    return {}
