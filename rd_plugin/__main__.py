# SPDX-License-Identifier: Apache-2.0
"""anomalib's command line with the plugin already imported: ``python -m rd_plugin train ...``.

The names of the package's data modules are then known wherever they stand among the arguments, and ``benchmark`` takes
the package's models. ``python -m rd_plugin check ...`` looks at data.
"""

import sys

from anomalib.cli.cli import main

import rd_plugin  # noqa: F401  # imported for its registration
from rd_plugin.data.check import command

if __name__ == "__main__":
    if sys.argv[1:2] == ["check"]:
        command.main(sys.argv[2:])
    else:
        main()
