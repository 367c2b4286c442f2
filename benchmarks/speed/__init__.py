# SPDX-License-Identifier: Apache-2.0
"""What takes how long and how much: against anomalib's model (``__main__``), and studies of one question each."""
