# SPDX-License-Identifier: Apache-2.0
"""What measures the models: accuracy, speed, what both share in common, and what came out in results."""
