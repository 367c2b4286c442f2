# SPDX-License-Identifier: Apache-2.0
"""What a person sees of results."""

import pytest

from rd_plugin.inspection import Progress, Text
from rd_plugin.results import InspectionResult

RESULTS = [
    InspectionResult("a.png", "normal", 0.25),
    InspectionResult("b\n.png", "error", reason="it is cut."),
    InspectionResult("c.png", "anomalous", 0.0),
]


def test_errors_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    text = Text()
    for result in RESULTS:
        text.write(result)
    text.close()
    output, errors = capsys.readouterr()
    assert output == "a.png: normal, score 0.250\nc.png: anomalous, score 0.000\n"
    assert errors == "b\\n.png: it is cut.\n"


@pytest.mark.parametrize(
    ("total", "shown", "expected"), [(3, True, "3/3"), (None, True, "3image"), (3, False, ""), (3, None, "")]
)
def test_progress_counts(
    capsys: pytest.CaptureFixture[str], total: int | None, shown: bool | None, expected: str
) -> None:
    bar = Progress(total, shown)
    for result in RESULTS:
        bar.write(result)
    bar.close()
    errors = capsys.readouterr().err
    assert expected in errors if expected else errors == ""
