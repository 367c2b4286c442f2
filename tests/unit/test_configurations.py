# SPDX-License-Identifier: Apache-2.0
"""The package's configurations, found by name."""

from pathlib import Path

import pytest
import yaml

from rd_plugin import configuration
from rd_plugin.configurations import configuration_names


def test_every_configuration_has_a_name_and_is_one() -> None:
    files = sorted((Path(__file__).parents[2] / "configs").glob("*.yaml"))
    assert [configuration(name).read_bytes() for name in configuration_names()] == [file.read_bytes() for file in files]
    for name in configuration_names():
        assert {"model", "data", "trainer"} <= set(yaml.safe_load(configuration(name).read_text()))


def test_a_file_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "quickstart").write_text("mine")
    assert configuration(tmp_path / "quickstart") == tmp_path / "quickstart"
    monkeypatch.chdir(tmp_path)
    assert configuration("quickstart") == Path("quickstart")


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(FileNotFoundError, match=r"config 'quickstat' is neither .*: dinomaly, fast, .*quickstart\."):
        configuration("quickstat")
