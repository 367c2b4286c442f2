# SPDX-License-Identifier: Apache-2.0
"""anomalib's command line with the package's subcommands."""

import pytest

from rd_plugin import ReverseDistillation
from rd_plugin.commands.argv import arrange
from rd_plugin.commands.command_line import CommandLine
from rd_plugin.commands.error_messages import WrongInput
from rd_plugin.configurations import configuration_names


@pytest.mark.parametrize("form", [("--config", "{}"), ("-c", "{}"), ("--config={}",)])
def test_configurations_have_names(form: tuple[str, ...]) -> None:
    assert "quickstart" in configuration_names()
    arguments = [part.format("quickstart") for part in form]
    cli = CommandLine(arrange(["train", *arguments]), run=False)
    assert cli.config["train"]["data"]["class_path"] == "rd_plugin.SolarCells"


def test_wrong_input_is_an_error_of_its_own_with_its_cause() -> None:
    with pytest.raises(WrongInput, match="data is missing") as caught:
        CommandLine(["train", "--model", "rd_plugin.ReverseDistillation"])
    assert isinstance(caught.value.__cause__, ValueError)


def test_export_goes_beside_its_checkpoint(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before what both command lines do, which looks for a place of the results."""
    monkeypatch.setattr("rd_plugin.commands.command_line.check_is_there", lambda _path: None)
    monkeypatch.setattr("rd_plugin.commands.command_line.with_recorded_model", list)
    restored: list[str] = []
    monkeypatch.setattr(ReverseDistillation, "restore", lambda _self, path: restored.append(str(path)))
    model = ["--model", "rd_plugin.ReverseDistillation", "--model.pre_trained", "false", "--model.backbone", "resnet18"]
    cli = CommandLine(["export", *model, "--export_type", "torch", "--ckpt_path", f"{tmp_path}/a.ckpt"], run=False)
    assert str(cli.config["export"]["export_root"]) == str(tmp_path)
    assert cli.config["export"]["model_file_name"] == "a"
    assert restored == [f"{tmp_path}/a.ckpt"]
