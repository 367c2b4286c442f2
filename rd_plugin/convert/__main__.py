# SPDX-License-Identifier: Apache-2.0
"""Command line: ``python -m rd_plugin.convert {rd4ad,urd,anomalib} SOURCE --output OURS.ckpt``."""

import argparse
import sys
from collections.abc import Sequence

from . import convert_anomalib, convert_rd4ad, convert_urd

__all__ = ["main"]


def _weights(text: str) -> bool | str:
    """Read ``--pre_trained`` as the model's argument of that name."""
    return {"true": True, "false": False}.get(text.lower(), text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m rd_plugin.convert",
        description="Turn a checkpoint of another reverse-distillation program into one of rd_plugin.",
    )
    programs = parser.add_subparsers(metavar="PROGRAM", required=True)

    rd4ad = programs.add_parser("rd4ad", help="the RD4AD authors' program: {'bn': ..., 'decoder': ...}")
    rd4ad.add_argument("source", metavar="AUTHORS.pth")
    rd4ad.add_argument(
        "--backbone",
        default="wide_resnet50_2.tv_in1k",
        help="the teacher, with timm's tag of the weights that the student was trained on (default: %(default)s)",
    )
    rd4ad.add_argument(
        "--pre_trained",
        type=_weights,
        default=True,
        metavar="WEIGHTS",
        help="its weights: true (timm's, downloaded; the default), false (random), a path or an installed package",
    )
    rd4ad.set_defaults(convert=convert_rd4ad)

    urd = programs.add_parser("urd", help="the RD with Expert authors' program: {'teacher': ..., 'student': ...}")
    urd.add_argument("source", metavar="AUTHORS.pth")
    urd.add_argument(
        "--backbone",
        default="wide_resnet50_2.tv_in1k",
        help="the teacher, with timm's tag of the weights that its training started from (default: %(default)s); its "
        "own weights are in the file",
    )
    urd.add_argument(
        "--injection",
        choices=("unguided", "guided"),
        default="unguided",
        help="how the student was trained: unguided (default) is what the authors' released script trains and "
        "evaluates, because a flag in it is inverted; guided is for files trained with the flag set right",
    )
    urd.set_defaults(convert=convert_urd)

    anomalib = programs.add_parser("anomalib", help="anomalib's own ReverseDistillation: a Lightning checkpoint")
    anomalib.add_argument("source", metavar="THEIRS.ckpt")
    anomalib.set_defaults(convert=convert_anomalib)

    for program in (rd4ad, urd, anomalib):
        program.add_argument("--output", required=True, metavar="OURS.ckpt", help="the checkpoint to write")
    return parser


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Args:
        arguments: What stands after the program's name; the process's own by default.

    Raises:
        SystemExit: With status 1 and one line on standard error, if the conversion fails.
    """
    parser = _parser()
    options = vars(parser.parse_args(arguments))
    convert = options.pop("convert")
    try:
        convert(**options)
    except (OSError, RuntimeError, TypeError, ValueError) as error:
        parser.exit(1, f"error: {' '.join(str(error).split())}\n")
    sys.stdout.write(f"{options['output']} written.\n")


if __name__ == "__main__":
    main()
