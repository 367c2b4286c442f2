# SPDX-License-Identifier: Apache-2.0
"""Predict images with a model exported to OpenVINO: ``python -m rd_plugin.predict model.xml IMAGE [IMAGE ...]``.

Grey images and palettes are read as RGB, an alpha channel is ignored, as in training. An image that cannot be judged is
named on standard error, the others are predicted, and the exit status is 1.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from anomalib.deploy import OpenVINOInferencer

from rd_plugin.data.check import inspect_file
from rd_plugin.data.check.rules import check_image
from rd_plugin.storage import printable

# Otherwise OpenVINO computes in bfloat16 where a processor can; an export cannot ask for more itself.
_FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}


def _load(path: Path) -> OpenVINOInferencer:
    """Load a model that gives scores and labels.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If OpenVINO cannot read it, or it gives no scores or labels.
    """
    if not path.is_file():
        msg = f"{path} is not a file."
        raise FileNotFoundError(msg)
    try:
        inferencer = OpenVINOInferencer(path=path, device="CPU", config=_FLOAT32)
    except (RuntimeError, ValueError) as error:
        msg = f"{path} cannot be read by OpenVINO: {error}"
        raise ValueError(msg) from error
    given = {name for output in inferencer.model.outputs for name in output.names}
    if missing := {"pred_label", "pred_score"} - given:
        msg = f"{path} gives no {' and no '.join(sorted(missing))}; export a model with a post-processor."
        raise ValueError(msg)
    return inferencer


def _problem(path: Path, inferencer: OpenVINOInferencer) -> str | None:
    """Return why a model cannot judge an image, or ``None`` if it can."""
    facts = inspect_file(path)
    for problem in check_image(str(path), facts):
        if problem.severity == "error":
            return str(problem)
    shape = inferencer.model.input(0).partial_shape
    sides = [side.get_length() for side in list(shape)[-2:] if side.is_static]
    if len(sides) == 2 and sides != [facts.height, facts.width]:
        return (
            f"{path}: the image has {facts.width} x {facts.height} pixels, the model takes {sides[1]} x {sides[0]} "
            "only; resize it, or export the model without --input_size."
        )
    return None


def main() -> None:
    """Print each image's verdict and score, from 0 to 1; the threshold is 0.5."""
    parser = argparse.ArgumentParser(prog="python -m rd_plugin.predict", description=__doc__)
    parser.add_argument("model", type=Path, help="OpenVINO model, .xml")
    parser.add_argument("images", type=Path, nargs="+", help="images to inspect")
    arguments = parser.parse_args()
    try:
        inferencer = _load(arguments.model)
    except (FileNotFoundError, ValueError) as error:
        parser.error(f"model: {error}")
    problems = 0
    for path in arguments.images:
        if problem := _problem(path, inferencer):
            print(printable(problem), file=sys.stderr)  # noqa: T201
            problems += 1
            continue
        prediction = inferencer.predict(path)
        label, score = np.asarray(prediction.pred_label).item(), np.asarray(prediction.pred_score).item()
        print(f"{printable(path)}: {'anomalous' if label else 'normal'}, score {score:.3f}")  # noqa: T201
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
