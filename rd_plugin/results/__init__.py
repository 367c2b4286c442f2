# SPDX-License-Identifier: Apache-2.0
"""What is known of inspected images, and what it says about a threshold."""

from .operating_points import RATES, OperatingPoint, Share, operating_points

__all__ = ["RATES", "OperatingPoint", "Share", "operating_points"]
