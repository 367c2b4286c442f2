# SPDX-License-Identifier: Apache-2.0
"""What all benchmarks share: records of runs, the grid that makes them, tables, the command line and training."""
