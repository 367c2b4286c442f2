# SPDX-License-Identifier: Apache-2.0
"""A post-processor's arguments without its class."""

from pathlib import Path

import pytest
import yaml

from rd_plugin.commands.command_line import CommandLine
from rd_plugin.commands.default_post_processor import with_default_post_processor
from rd_plugin.configurations import configuration

RATE = ("--model.post_processor.false_alarm_rate", "0.2")
CLASS = ["--model.post_processor", "rd_plugin.post_processor.DistillationPostProcessor"]


def test_class_is_added() -> None:
    words = ["train", "--config", str(configuration("folder")), "--data.root", "x", *RATE]
    assert with_default_post_processor(words) == [*words[:5], *CLASS, *RATE]
    cli = CommandLine(["install"], run=False)
    parsed = cli.parser.parse_args(with_default_post_processor(words)).train.model.init_args.post_processor
    assert (parsed.class_path, parsed.init_args.false_alarm_rate) == (CLASS[1], 0.2)


@pytest.mark.parametrize(
    "words",
    [
        ["train", "--model", "rd_plugin.ReverseDistillation"],
        ["train", "--model", "rd_plugin.ReverseDistillation", "--model.post_processor", "Mine", *RATE],
        ["train", "--model", "Padim", *RATE],
        ["validate", "--model", "rd_plugin.ReverseDistillation", "--ckpt_path", "model.ckpt", *RATE],
        ["train", "--config", "own.yaml", *RATE],
        ["train", "--config", "broken.yaml", *RATE],
        ["train", "--config", "none.yaml", *RATE],
        ["train", "--config", "list.yaml", *RATE],
    ],
)
def test_others_are_left_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    own = {"class_path": "rd_plugin.ReverseDistillation", "init_args": {"post_processor": {"class_path": "Mine"}}}
    Path("own.yaml").write_text(yaml.safe_dump({"model": own}))
    Path("broken.yaml").write_text("model: [")
    Path("list.yaml").write_text("[model]")
    assert with_default_post_processor(words) == words
