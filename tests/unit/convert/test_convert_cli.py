# SPDX-License-Identifier: Apache-2.0
"""``rd-plugin convert``."""

import pytest
import torch

from rd_plugin import ExpertReverseDistillation, ReverseDistillation
from rd_plugin.commands.tool import main as run_tool

from ...processes import run_function, run_program
from .foreign import read_theirs


def main(arguments):
    run_tool(["convert", *arguments])


def test_rd4ad_in_a_process(tmp_path, authors_resnet18, offline_environment):
    output = tmp_path / "ours.ckpt"
    command = ["rd_plugin", "convert", "rd4ad", str(authors_resnet18), "--output", str(output)]
    command += ["--backbone", "resnet18", "--pre_trained", "False"]
    done = run_function(tmp_path, run_program, *command, **offline_environment)
    assert done.status == 0, done.output
    assert f"{output} written." in done.output.splitlines()
    model = ReverseDistillation.load_from_checkpoint(output)
    assert model.hparams["pre_trained"] is False
    assert model.hparams["backbone"] == "resnet18"


@pytest.mark.parametrize(("chosen", "injection"), [([], "unguided"), (["--injection", "guided"], "guided")])
def test_urd(tmp_path, capsys, expert_authors_resnet18, chosen, injection):
    output = tmp_path / "ours.ckpt"
    main(["urd", str(expert_authors_resnet18[-1]), "--backbone", "resnet18", *chosen, "--output", str(output)])
    assert capsys.readouterr().out.splitlines()[-1] == f"{output} written."
    model = ExpertReverseDistillation.load_from_checkpoint(output)
    assert model.hparams["injection"] == injection
    assert model.hparams["backbone"] == "resnet18"


def test_anomalib(tmp_path, theirs_resnet18):
    main(["anomalib", str(theirs_resnet18[1]), "--output", str(tmp_path / "ours.ckpt")])
    model = ReverseDistillation.load_from_checkpoint(tmp_path / "ours.ckpt")
    assert model.hparams["blur_border"] == "reflect"


def check_one_line(capsys, arguments, expected):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line for line in lines if line.startswith("rd-plugin: error: ")] == lines[-1:]
    assert expected in lines[-1]


@pytest.mark.parametrize("program", ["rd4ad", "urd", "anomalib"])
def test_pickled_code_is_one_line(tmp_path, capsys, intruder, program):
    torch.save(intruder, tmp_path / "source.pth")
    arguments = [program, str(tmp_path / "source.pth"), "--output", str(tmp_path / "ours.ckpt")]
    check_one_line(capsys, arguments, "was refused: it holds io.open")
    assert not intruder.trace.exists()


def test_malformed_pre_processor(tmp_path, capsys, theirs_resnet18):
    content = read_theirs(theirs_resnet18[1])
    content["anomalib_pre_processor_config"] = {"transform": "resize"}
    torch.save(content, tmp_path / "theirs.ckpt")
    check_one_line(
        capsys, ["anomalib", str(tmp_path / "theirs.ckpt"), "--output", str(tmp_path / "o.ckpt")], "Transform"
    )
