# SPDX-License-Identifier: Apache-2.0
"""What is read of a command line before the parser reads it."""

import pytest

from rd_plugin.commands.argv import arrange, option_names, option_value, options, typed
from rd_plugin.configurations import configuration

QUICKSTART = str(configuration("quickstart"))


def test_options_have_values_in_both_forms_and_numbers_are_none() -> None:
    words = ["train", "--seed", "-1", "--data.root=a=b", "--", "-c"]
    assert [option[:2] for option in options(words)] == [("--seed", "-1"), ("--data.root", "a=b"), ("-c", None)]
    assert option_names(words) == {"--seed", "--data.root", "-c"}


def test_last_value_counts() -> None:
    assert option_value("--ckpt_path", ["--ckpt_path", "a", "--ckpt_path=b"]) == "b"
    assert option_value("--ckpt_path", ["a"]) is None


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["train", "--seed", "1", "-c", "quickstart"], ["train", "-c", QUICKSTART, "--seed", "1"]),
        (["train", "--config=quickstart", "-v"], ["-v", "train", "--config", QUICKSTART]),
        (["--traceback", "train", "--config", "none"], ["--traceback", "train", "--config", "none"]),
        (["train", "--config"], ["train", "--config"]),
        ([], []),
    ],
)
def test_order(words: list[str], expected: list[str]) -> None:
    assert arrange(words) == expected


def test_words_of_a_command_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class CommandLine:
        given = ("train",)

    monkeypatch.setattr("sys.argv", ["anomalib", "test"])
    assert typed(CommandLine()) == ["train"]
    assert typed(object()) == typed() == ["test"]
