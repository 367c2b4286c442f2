# SPDX-License-Identifier: Apache-2.0
"""The tool's help: short and with an example; ``--help_all`` shows every argument.

anomalib is not imported here: that takes seconds, and the list of subcommands must be shown at once.
"""

import argparse
from collections.abc import Iterable
from typing import Any, NamedTuple

from jsonargparse import ActionConfigFile, ArgumentParser, DefaultHelpFormatter

from .first_arguments import FIRST_ARGUMENTS

__all__ = [
    "SUBCOMMANDS",
    "Subcommand",
    "describe",
    "describe_subcommand",
    "new_parser",
    "print_help",
    "print_subcommand_help",
]

_EXIT_STATUSES = """\
exit status:
  0  done
  1  done, but some data cannot be used (check, inspect)
  4  done, and an image is anomalous (inspect --fail_on_anomalous)
  8  done, and the images differ from the training images (inspect --fail_on_drift)
     1, 4 and 8 add up: 5 is 1 and 4, 12 is 4 and 8
  2  an argument, a file or a folder is wrong; one sentence says which. Errors found while running count, too:
     `rd-plugin SUBCOMMAND ... --traceback` shows their traceback, -v the messages of other libraries
  3  something else failed; a traceback is shown"""

_CHECKPOINT = "results/FusedReverseDistillation/my_parts/latest/weights/lightning/model.ckpt"
_DATA = "--model rd_plugin.ReverseDistillation --data PartsFolder --data.root my_parts"


class Subcommand(NamedTuple):
    """What the help says about a subcommand.

    Args:
        summary: What it does, in a sentence.
        example: How it is called.
    """

    summary: str
    example: str


# In the order in which users need them.
SUBCOMMANDS = {
    "check": Subcommand(
        "Check every image and mask of a data module, and show how they are split.",
        "rd-plugin check --config folder --data.root my_parts",
    ),
    "train": Subcommand(
        "Train a model, set its threshold and test it.",
        "rd-plugin train --config folder --data.root my_parts",
    ),
    "inspect": Subcommand(
        "Inspect images with a trained model: normal or anomalous, with a score.",
        f"rd-plugin inspect {_CHECKPOINT} new_parts --csv verdicts.csv",
    ),
    "products": Subcommand(
        "Keep the models of several products in a folder: add, list, remove.",
        "rd-plugin products add products gasket model.xml",
    ),
    "serve": Subcommand(
        "Inspect images sent over HTTP, with the models of a folder of products.",
        "rd-plugin serve products --port 8000",
    ),
    "report": Subcommand(
        "Make an HTML page from the results of inspect: pictures, histogram, threshold, mistakes.",
        "rd-plugin report verdicts.csv --good good --output report.html",
    ),
    "threshold": Subcommand(
        "Give a trained model a new threshold without training.",
        f"rd-plugin threshold {_CHECKPOINT} --good new_good_parts --rate 0.01",
    ),
    "update": Subcommand(
        "Update a model with good images that it called anomalous.",
        f"rd-plugin update {_CHECKPOINT} --labels labels.csv",
    ),
    "roi": Subcommand(
        "Make an HTML page to draw the region of interest on an image.",
        "rd-plugin roi my_parts/good/000.png",
    ),
    "export": Subcommand(
        "Export a trained model to OpenVINO, ONNX or torch.",
        f"rd-plugin export --export_type openvino --ckpt_path {_CHECKPOINT}",
    ),
    "fit": Subcommand(
        "Train a model and set its threshold, without a test.",
        f"rd-plugin fit {_DATA}",
    ),
    "validate": Subcommand(
        "Measure a trained model on the validation images.",
        f"rd-plugin validate --config folder --data.root my_parts --ckpt_path {_CHECKPOINT}",
    ),
    "test": Subcommand(
        "Measure a trained model on the test images.",
        f"rd-plugin test --config folder --data.root my_parts --ckpt_path {_CHECKPOINT}",
    ),
    "predict": Subcommand(
        "Draw a picture of each image with its score, using anomalib's engine.",
        f"rd-plugin predict --data new_parts --ckpt_path {_CHECKPOINT}",
    ),
    "compare": Subcommand(
        "Train several models on your own images, and compare accuracy and cost on one page.",
        "rd-plugin compare --data.root my_parts --models FusedReverseDistillation anomalib.Patchcore",
    ),
    "convert": Subcommand(
        "Convert a checkpoint of another reverse-distillation program to one of rd_plugin.",
        "rd-plugin convert rd4ad AUTHORS.pth --backbone wide_resnet50_2.tv_in1k --output OURS.ckpt",
    ),
    "benchmark": Subcommand(
        "Compare models on several data sets, with anomalib's pipeline.",
        "rd-plugin benchmark --config benchmark.yaml",
    ),
    "install": Subcommand(
        "Install what anomalib needs for an option, such as OpenVINO.",
        "rd-plugin install --option openvino",
    ),
}

# Lightning's and OpenVINO's arguments: about two hundred, which would hide the others.
_LONG = ("trainer", "optimizer", "lr_scheduler", "ov_kwargs", "ov_args", "onnx_kwargs", "metric", "logging")


class _FullHelp(argparse.RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Help with every argument."""


class _ShortHelp(_FullHelp):
    """Help without the arguments that Lightning's trainer and OpenVINO's converter take, and without lists of classes.

    jsonargparse lists all subclasses of a type, such as torchvision's seventy transforms.
    """

    def add_usage(self, usage: str | None, actions: Iterable[argparse.Action], *args: Any, **kwargs: Any) -> None:
        """Add the usage line."""
        super().add_usage(usage, [action for action in actions if not _is_long(action)], *args, **kwargs)

    def add_argument(self, action: argparse.Action) -> None:
        """Add an argument, unless it belongs to the trainer or the converter."""
        if hasattr(action, "extra_help"):
            action.extra_help = lambda: ""
        if not _is_long(action):
            super().add_argument(action)


def _is_long(action: argparse.Action) -> bool:
    # The help of classes within a class, such as --data.augmentations.help.
    nested_help = action.dest.endswith(".help") and action.dest.count(".") > 1
    return nested_help or action.dest.startswith(_LONG)


class _Parser(ArgumentParser):
    """jsonargparse's parser with the short help, also for that of a class, which jsonargparse makes by itself."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"formatter_class": _ShortHelp, "prog": "rd-plugin", **kwargs})


class _HelpAll(argparse.Action):
    """Print the help with every argument, and exit."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**{**arguments, "nargs": 0, "dest": argparse.SUPPRESS, "default": argparse.SUPPRESS})

    def __call__(self, parser: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> None:
        """Print it."""
        del args, kwargs
        parser.formatter_class = _FullHelp
        parser.print_help()
        parser.exit()


def new_parser(**kwargs: Any) -> ArgumentParser:
    """Return a parser for the tool or for a subcommand, which raises its errors."""
    parser = _Parser(exit_on_error=False, **kwargs)
    parser.add_argument("--help_all", action=_HelpAll, help="Show all arguments, also those of Lightning's trainer.")
    parser.add_argument(
        "-c",
        "--config",
        action=ActionConfigFile,
        help="Configuration: a file, or the name of one of the package's, such as quickstart.",
    )
    return parser


def describe(parser: ArgumentParser) -> None:
    """Give the parser of all subcommands its own arguments and its description."""
    parser.add_argument("-v", "--verbose", action="store_true", help="Show the messages of other libraries, too.")
    parser.add_argument("--traceback", action="store_true", help="Show the traceback of an error.")
    parser.description = (
        "Reverse distillation for anomalib: train on images of good parts, then inspect others.\n"
        "`rd-plugin SUBCOMMAND --help` shows an example of each."
    )
    parser.epilog = _EXIT_STATUSES


def describe_subcommand(name: str, parser: ArgumentParser) -> None:
    """Give the parser of a subcommand its description and example."""
    parser.formatter_class = _ShortHelp
    parser.description = SUBCOMMANDS[name].summary
    parser.epilog = f"example:\n  {SUBCOMMANDS[name].example}\n\n{_EXIT_STATUSES}"


def print_help() -> None:
    """Print the help that lists the subcommands."""
    parser = new_parser()
    subcommands = parser.add_subcommands()
    for name, subcommand in SUBCOMMANDS.items():
        subcommands.add_subcommand(name, new_parser(), help=subcommand.summary)
    describe(parser)
    parser.print_help()


def print_subcommand_help(name: str) -> bool:
    """Print the help of a subcommand if that is possible at once.

    Returns:
        Whether it was printed; otherwise its parser must be built.
    """
    if name not in FIRST_ARGUMENTS:
        return False
    parser = new_parser()
    for title, arguments in FIRST_ARGUMENTS[name]:
        group = parser.add_argument_group(title)
        for argument, metavar, text in arguments:
            group.add_argument(argument, metavar=metavar, help=text, default=argparse.SUPPRESS)
    describe_subcommand(name, parser)
    # Every argument that is named here is shown, also the trainer's.
    parser.formatter_class = _FullHelp
    parser.usage = f"rd-plugin [options] {name} [arguments]"
    parser.print_help()
    return True
