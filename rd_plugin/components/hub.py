# SPDX-License-Identifier: Apache-2.0
"""timm's weights on the Hugging Face Hub: taken from the cache, with a quick error if the Hub cannot be reached."""

from huggingface_hub import constants, try_to_load_from_cache
from huggingface_hub.utils import get_session  # type: ignore[attr-defined]  # documented, but not in its __all__
from timm.models import get_pretrained_cfg

__all__ = ["hub_source"]

# In the order in which timm searches for them.
_FILES = ("model.safetensors", "pytorch_model.bin")
# Timeout of the Hub's answer, in seconds.
_PATIENCE = 10


def hub_source(backbone: str) -> dict[str, str]:
    """Find where timm should read a backbone's weights.

    If the Hub cannot be reached, its own client retries for a minute.

    Args:
        backbone: timm's name, with or without a tag.

    Returns:
        Entries that override timm's ``pretrained_cfg``: the file, if the Hub's cache has it, so that no network is
        needed; empty if timm must download it.

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
    except Exception as error:  # of the HTTP library, which differs between versions of the Hub's client
        msg = f"{constants.ENDPOINT} cannot be reached: {error}"
        raise OSError(msg) from error
    return {}
