# SPDX-License-Identifier: Apache-2.0
from rd_plugin.data.check import Problem


def test_problem_reads_as_a_line() -> None:
    assert str(Problem("a.png", "the file is empty.")) == "a.png: the file is empty."


def test_name_cannot_start_a_line_of_its_own() -> None:
    assert "\n" not in str(Problem("a.png\nerror: b.png", "the file is empty."))
