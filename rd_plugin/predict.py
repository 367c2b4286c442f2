# SPDX-License-Identifier: Apache-2.0
"""Predict images with a model exported to OpenVINO: ``python -m rd_plugin.predict model.xml IMAGE [IMAGE ...]``."""

import argparse
from pathlib import Path

import numpy as np
from anomalib.deploy import OpenVINOInferencer


def main() -> None:
    """Print each image's verdict and score, from 0 to 1; the threshold is 0.5."""
    parser = argparse.ArgumentParser(prog="python -m rd_plugin.predict", description=__doc__)
    parser.add_argument("model", type=Path, help="OpenVINO model, .xml")
    parser.add_argument("images", type=Path, nargs="+", help="images to inspect")
    arguments = parser.parse_args()
    inferencer = OpenVINOInferencer(path=arguments.model, device="CPU")
    for path in arguments.images:
        prediction = inferencer.predict(path)
        label, score = np.asarray(prediction.pred_label).item(), np.asarray(prediction.pred_score).item()
        print(f"{path.name}: {'anomalous' if label else 'normal'}, score {score:.3f}")  # noqa: T201


if __name__ == "__main__":
    main()
