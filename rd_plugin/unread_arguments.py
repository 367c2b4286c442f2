# SPDX-License-Identifier: Apache-2.0
"""What anomalib's command line takes and does not look at.

anomalib 2.7 takes ``--seed_everything`` without ever reading it, meets a results folder that it cannot make with a bare
error of the system's, and exports or tests models that were never trained. And a schedule of validations that is given
but is Lightning's default is told from one that is not given.
"""

from collections.abc import Sequence
from typing import Any

from lightning import seed_everything

from rd_plugin.storage import check_folder

__all__ = ["heed_arguments"]

_SCHEDULE = {"--trainer.check_val_every_n_epoch", "--trainer.val_check_interval"}
# These would go on with random weights, and write results that look like any others.
_OF_TRAINED_MODELS = {"validate", "test", "predict", "export"}


def _heed_schedule(arguments: Any, given: Sequence[str]) -> None:
    """Leave it to the trainer when to validate, if the command line says so, though in Lightning's own default.

    A trainer does not tell an argument that was given from one that was not. The model's ``validations`` becomes
    ``None``, in the configuration that anomalib writes beside the run, too, unless it is given itself.

    Args:
        arguments: Those of a subcommand, as parsed.
        given: The words of the command line.
    """
    model = arguments.get("model")
    names = {word.partition("=")[0] for word in given}
    own = model is not None and str(model.get("class_path", "")).startswith("rd_plugin.")
    if own and names & _SCHEDULE and "--model.validations" not in names and "validations" in model["init_args"]:
        model["init_args"]["validations"] = None


def _heed_tiler(arguments: Any) -> None:
    """Check what anomalib's tiler would meet with an error of its own.

    Args:
        arguments: Those of a subcommand, as parsed.

    Raises:
        ValueError: If it has no stride.
    """
    callbacks = (arguments.get("trainer") or {}).get("callbacks") or []
    for callback in callbacks if isinstance(callbacks, list) else [callbacks]:
        name = str(callback.get("class_path", "")).rpartition(".")[2]
        settings = callback.get("init_args") or {}
        if name == "TilerConfigurationCallback" and settings.get("enable") and settings.get("stride") is None:
            msg = (
                "trainer.callbacks: anomalib's TilerConfigurationCallback needs stride beside tile_size; the package's "
                "own models take model.tile_size and model.tile_overlap in its place."
            )
            raise ValueError(msg)


def heed_arguments(subcommand: str, arguments: Any, given: Sequence[str] = ()) -> None:
    """Act on what anomalib's command line takes and does not look at, before anything is built.

    The seed does what its help says: ``True``, anomalib's default, draws one and logs it; ``False`` seeds nothing. The
    seed that was used replaces the argument in the configuration that anomalib writes beside the run, as in Lightning's
    own command line.

    Args:
        subcommand: Such as ``"train"``.
        arguments: Its arguments, as parsed.
        given: The words of the command line, which tell what was given from what is a default.

    Raises:
        OSError: If the results folder cannot be written to; names the argument.
        ValueError: If one of the package's models is to be tested, used or exported without a checkpoint, or anomalib's
            tiler has no stride.
    """
    arguments = arguments or {}
    folder = arguments.get("default_root_dir")
    # An export with a folder of its own writes nothing there.
    if folder is not None and "://" not in str(folder) and arguments.get("export_root") is None:
        check_folder(folder, 0, "default_root_dir")
    _heed_tiler(arguments)
    model = arguments.get("model")
    ours = model is not None and str(model.get("class_path", "")).startswith("rd_plugin.")
    if subcommand in _OF_TRAINED_MODELS and ours and arguments.get("ckpt_path") is None:
        msg = f"ckpt_path is missing: without a checkpoint {subcommand} would take a model that has not been trained."
        raise ValueError(msg)
    seed = arguments.get("seed_everything", False)
    if seed is not False:
        arguments["seed_everything"] = seed_everything(None if seed is True else seed, workers=True)
    _heed_schedule(arguments, given)
