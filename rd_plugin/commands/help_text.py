# SPDX-License-Identifier: Apache-2.0
"""How the tool's help looks: short, with an example, and whole when asked for."""

import argparse
from collections.abc import Iterable
from typing import Any

from jsonargparse import DefaultHelpFormatter

__all__ = ["EXAMPLES", "EXIT_STATUSES", "FullHelp", "HelpAll", "ShortHelp"]

EXIT_STATUSES = """\
exit status:
  0  done
  1  done, but there is data that cannot be used (check, inspect)
  4  done, and an image is anomalous (inspect --fail_on_anomalous)
  8  done, and images are not like those that the model was trained on (inspect --fail_on_drift)
     1, 4 and 8 add up: 5 is 1 and 4, 12 is 4 and 8
  2  an argument, a file or a folder is wrong; one sentence says which. Errors found while running count, too:
     `rd-plugin SUBCOMMAND ... --traceback` shows where they came from, -v what other libraries say
  3  something else failed; a traceback is shown"""

_CHECKPOINT = "results/FusedReverseDistillation/my_parts/latest/weights/lightning/model.ckpt"
_DATA = "--model rd_plugin.ReverseDistillation --data PartsFolder --data.root my_parts"

# One for each subcommand.
EXAMPLES = {
    "train": "rd-plugin train --config folder --data.root my_parts",
    "fit": f"rd-plugin fit {_DATA}",
    "validate": f"rd-plugin validate --config folder --data.root my_parts --ckpt_path {_CHECKPOINT}",
    "test": f"rd-plugin test --config folder --data.root my_parts --ckpt_path {_CHECKPOINT}",
    "predict": f"rd-plugin predict --data new_parts --ckpt_path {_CHECKPOINT}",
    "export": f"rd-plugin export --export_type openvino --ckpt_path {_CHECKPOINT}",
    "check": "rd-plugin check --config folder --data.root my_parts",
    "convert": "rd-plugin convert rd4ad AUTHORS.pth --backbone wide_resnet50_2.tv_in1k --output OURS.ckpt",
    "inspect": f"rd-plugin inspect {_CHECKPOINT} new_parts --csv verdicts.csv",
    "report": "rd-plugin report verdicts.csv --good good --output report.html",
    "benchmark": "rd-plugin benchmark --config benchmark.yaml",
    "install": "rd-plugin install --option openvino",
}

# Lightning's and OpenVINO's arguments: some two hundred, which would hide the others.
_LONG = ("trainer", "optimizer", "lr_scheduler", "ov_kwargs", "ov_args", "onnx_kwargs", "metric", "logging")


class FullHelp(argparse.RawDescriptionHelpFormatter, DefaultHelpFormatter):
    """Help with every argument."""


class ShortHelp(FullHelp):
    """Help without the arguments that Lightning's trainer and OpenVINO's converter take."""

    def add_usage(self, usage: str | None, actions: Iterable[argparse.Action], *args: Any, **kwargs: Any) -> None:
        """Add the usage line.

        Args:
            usage: The line, if it is given.
            actions: The parser's arguments.
            *args: Those of argparse's method.
            **kwargs: Those of argparse's method.
        """
        super().add_usage(usage, [action for action in actions if not _is_long(action)], *args, **kwargs)

    def add_argument(self, action: argparse.Action) -> None:
        """Add an argument, unless it is one of those.

        Args:
            action: The argument.
        """
        if not _is_long(action):
            super().add_argument(action)


def _is_long(action: argparse.Action) -> bool:
    return action.dest.startswith(_LONG)


class HelpAll(argparse.Action):
    """Print the help with every argument, and exit."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**{**arguments, "nargs": 0, "dest": argparse.SUPPRESS, "default": argparse.SUPPRESS})

    def __call__(self, parser: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> None:
        """Print it."""
        del args, kwargs
        parser.formatter_class = FullHelp
        parser.print_help()
        parser.exit()
