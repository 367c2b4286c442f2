# SPDX-License-Identifier: Apache-2.0
"""The packages that are built; setup.cfg can find or list them, not both. All else: pyproject.toml, setup.cfg."""

from setuptools import find_packages, setup

setup(packages=[*find_packages(include=["rd_plugin*"]), "rd_plugin.configs"])
