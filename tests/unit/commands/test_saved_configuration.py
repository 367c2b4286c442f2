# SPDX-License-Identifier: Apache-2.0
"""The configuration of a run whose logger has no folder."""

from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

from rd_plugin.commands.saved_configuration import SaveConfigCallback


def test_configuration_is_written_once_into_the_folder_of_the_run(tmp_path: Path) -> None:
    parser = MagicMock()
    callback = SaveConfigCallback(parser, {"seed": 1}, overwrite=True)
    trainer = SimpleNamespace(log_dir=None, is_global_zero=True, default_root_dir=str(tmp_path / "v0"))
    callback.setup(trainer, None, "fit")
    file = str(tmp_path / "v0" / "config.yaml")
    parser.save.assert_called_once_with({"seed": 1}, file, skip_none=False, overwrite=True)
    callback.setup(trainer, None, "test")
    parser.save.assert_called_once()


def test_with_a_folder_it_is_lightnings(tmp_path: Path) -> None:
    parser = MagicMock()
    callback = SaveConfigCallback(parser, {}, overwrite=True)
    trainer = SimpleNamespace(log_dir=str(tmp_path / "logs"), is_global_zero=True, strategy=MagicMock())
    callback.setup(trainer, None, "fit")
    assert parser.save.call_args.args[1] == str(tmp_path / "logs" / "config.yaml")
