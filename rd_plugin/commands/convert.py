# SPDX-License-Identifier: Apache-2.0
"""``rd-plugin convert``: checkpoints of other programs."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Literal

from jsonargparse import ArgumentParser, Namespace

__all__ = ["add_arguments", "run"]

_PROGRAMS = {
    "rd4ad": "the RD4AD authors' program: {'bn': ..., 'decoder': ...}",
    "rdpp": "the RD++ authors' program: {'proj': ..., 'bn': ..., 'decoder': ...}",
    "urd": "the RD with Expert authors' program: {'teacher': ..., 'student': ...}",
    "anomalib": "anomalib's own ReverseDistillation: a Lightning checkpoint",
    "dinomaly": "the Dinomaly authors' program: encoder, bottleneck and decoder in one state dict",
    "anomalib_dinomaly": "anomalib's own Dinomaly: a Lightning checkpoint",
}


def add_arguments(parser: ArgumentParser) -> None:
    """Add the programs and their arguments."""
    subcommands = parser.add_subcommands(dest="program", metavar="PROGRAM", title="programs")
    programs: dict[str, ArgumentParser] = {}
    for name, help_text in _PROGRAMS.items():
        program = ArgumentParser(description=help_text, exit_on_error=False)
        subcommands.add_subcommand(name, program, help=help_text)
        program.add_argument("source", metavar="THEIRS", type=Path, help="the other program's checkpoint")
        program.add_argument("--output", required=True, metavar="OURS.ckpt", type=Path, help="the checkpoint to write")
        programs[name] = program
    for name in ("rd4ad", "rdpp"):
        programs[name].add_argument(
            "--backbone",
            type=str,
            default="wide_resnet50_2.tv_in1k",
            help="the teacher, with timm's tag of the weights that the student was trained on",
        )
        programs[name].add_argument(
            "--pre_trained",
            type=bool | str,
            default=True,
            metavar="WEIGHTS",
            help="its weights: true (timm's, downloaded), false (random), a path or an installed package",
        )
    programs["dinomaly"].add_argument(
        "--backbone",
        type=str,
        default="vit_base_patch14_reg4_dinov2.lvd142m",
        help="the teacher, by timm's name; its weights are in the file",
    )
    programs["urd"].add_argument(
        "--backbone",
        type=str,
        default="wide_resnet50_2.tv_in1k",
        help="the teacher, with timm's tag of the weights that its training started from; its own weights are in the "
        "file",
    )
    programs["urd"].add_argument(
        "--injection",
        type=Literal["unguided", "guided"],
        default="unguided",
        help="how the student was trained: unguided is what the authors' released script trains and evaluates, because "
        "a flag in it is inverted; guided is for files trained with the corrected flag",
    )


def run(arguments: Namespace) -> None:
    """Convert a checkpoint.

    Raises:
        OSError: If a file cannot be read or written.
        ValueError: If the source is not a checkpoint of the program.
    """
    options = dict(arguments[arguments.program])
    # The help does not wait for torch.
    convert = getattr(import_module("rd_plugin.convert"), f"convert_{arguments.program}")
    try:
        convert(**options)
    except (RuntimeError, TypeError) as error:
        # torch raises either for tensors of other shapes and files of other programs.
        raise ValueError(" ".join(str(error).split())) from error
    sys.stdout.write(f"{options['output']} written.\n")
