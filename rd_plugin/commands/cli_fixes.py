# SPDX-License-Identifier: Apache-2.0
"""Fixes of anomalib's command line for the package's models, applied to ``anomalib`` and ``rd-plugin``.

anomalib 2.7 accepts ``--seed_everything`` but never reads it, shows a bare system error if a results folder cannot
be made, exports or tests models that were never trained, and logs each message twice. A validation schedule that was
given but equals Lightning's default must also be distinguished from one that was not given.
"""

import logging
from collections.abc import Sequence
from typing import Any

from lightning import seed_everything

from rd_plugin.storage import check_folder

from .argv import option_names
from .log_level import set_log_level

__all__ = ["fix_arguments"]

logger = logging.getLogger(__name__)

_SCHEDULE = {"--trainer.check_val_every_n_epoch", "--trainer.val_check_interval"}
# These would run with random weights, and write results that look like any others.
_OF_TRAINED_MODELS = {"validate", "test", "predict", "export"}


def fix_arguments(subcommand: str, arguments: Any, words: Sequence[str] = ()) -> None:
    """Act on arguments before anything is built.

    The seed does what its help says: ``True``, anomalib's default, draws one and logs it; ``False`` seeds nothing. The
    seed that was used replaces the argument in the configuration that anomalib writes for the run, as in Lightning's
    own command line. A run of one of the package's models logs each message once. Unless ``-v`` is given, only warnings
    of other libraries are logged.

    Args:
        subcommand: Such as ``"train"``.
        arguments: Its arguments, as parsed.
        words: The words of the command line, which show whether a value was given or is a default.

    Raises:
        OSError: If the results folder cannot be written to; the message names the argument.
        ValueError: If one of the package's models would be tested, used or exported without a checkpoint, or anomalib's
            tiler has no stride.
    """
    arguments = arguments or {}
    given = option_names(words)
    folder = arguments.get("default_root_dir")
    # An export to another folder writes nothing there.
    if folder is not None and "://" not in str(folder) and arguments.get("export_root") is None:
        check_folder(folder, 0, "default_root_dir")
    _check_tiler(arguments)
    model = arguments.get("model")
    # The model of ``inspect`` is a file.
    ours = hasattr(model, "get") and str(model.get("class_path")).startswith("rd_plugin.")
    verbose = bool(given & {"-v", "--verbose"})
    if ours:
        set_log_level(verbose)
    seed = arguments.get("seed_everything", False)
    if seed is not False:
        arguments["seed_everything"] = seed_everything(None if seed is True else seed, workers=True, verbose=not ours)
    if not ours:
        return
    _give_way(model.get("init_args") or {}, given)
    if seed is not False:
        logger.info("Seed set to %s", arguments["seed_everything"])
    if subcommand in _OF_TRAINED_MODELS and arguments.get("ckpt_path") is None:
        msg = f"ckpt_path is missing: without a checkpoint {subcommand} would use a model that has not been trained."
        raise ValueError(msg)
    # A trainer cannot distinguish a given argument from a default, so the model does not change its schedule.
    if given & _SCHEDULE and "--model.validations" not in given and "validations" in model["init_args"]:
        model["init_args"]["validations"] = None
    trainer = arguments.get("trainer") or {}
    if not verbose and trainer.get("enable_model_summary", True) is None:
        trainer["enable_model_summary"] = False


def _give_way(arguments: Any, given: set[str]) -> None:
    """Let a pre-processor, which resizes itself, override a configuration's image size.

    The package's own configurations set the size.
    """
    size, pre_processor = arguments.get("image_size"), arguments.get("pre_processor", True)
    if size is not None and pre_processor is not True and "--model.image_size" not in given:
        logger.info("model.pre_processor overrides model.image_size %s of the configuration.", size)
        arguments["image_size"] = None


def _check_tiler(arguments: Any) -> None:
    """Check arguments for which anomalib's tiler would show an unclear error.

    Raises:
        ValueError: If the tiler has no stride.
    """
    callbacks = (arguments.get("trainer") or {}).get("callbacks") or []
    for callback in callbacks if isinstance(callbacks, list) else [callbacks]:
        name = str(callback.get("class_path", "")).rpartition(".")[2]
        settings = callback.get("init_args") or {}
        if name == "TilerConfigurationCallback" and settings.get("enable") and settings.get("stride") is None:
            msg = (
                "trainer.callbacks: anomalib's TilerConfigurationCallback needs stride as well as tile_size; this "
                "package's models have model.tile_size and model.tile_overlap instead."
            )
            raise ValueError(msg)
