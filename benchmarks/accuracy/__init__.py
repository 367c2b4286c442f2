# SPDX-License-Identifier: Apache-2.0
"""What finds defects how well: the grid of models and data (``__main__``), and studies of one question each."""
