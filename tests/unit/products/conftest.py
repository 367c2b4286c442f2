# SPDX-License-Identifier: Apache-2.0
"""Small models of OpenVINO's, as for inspection."""

from ..inspection.conftest import save

__all__ = ["save"]
