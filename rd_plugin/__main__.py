# SPDX-License-Identifier: Apache-2.0
"""anomalib's command line with the plugin already imported: ``python -m rd_plugin train ...``.

The names ``MVTec`` and ``SolarCells`` are then known wherever they stand among the arguments, and ``benchmark`` takes
the package's models.
"""

from anomalib.cli.cli import main

import rd_plugin  # noqa: F401  # imported for its registration

if __name__ == "__main__":
    main()
