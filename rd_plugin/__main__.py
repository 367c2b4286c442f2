# SPDX-License-Identifier: Apache-2.0
"""``python -m rd_plugin``: the same as the console script ``rd-plugin``."""

from rd_plugin.commands.tool import main

if __name__ == "__main__":
    main()
