# SPDX-License-Identifier: Apache-2.0
"""Sections of a training's configuration in another subcommand."""

from jsonargparse import ArgumentParser

from rd_plugin.commands.sections import accept_sections


def test_sections_of_a_training_are_taken_and_left_alone() -> None:
    training, other = ArgumentParser(exit_on_error=False), ArgumentParser(exit_on_error=False)
    training.add_argument("--trainer.max_steps", type=int, default=3)
    training.add_argument("--seed", type=int, default=0)
    other.add_argument("--seed", type=int, default=1)
    accept_sections(other, training, own={"data"})
    parsed = other.parse_object({"trainer": {"max_steps": "any"}, "model": {"class_path": "No"}, "seed": 5})
    assert parsed.trainer == {"max_steps": "any"}
    assert parsed.seed == 5
    assert "data" not in parsed
