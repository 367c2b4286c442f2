# SPDX-License-Identifier: Apache-2.0
"""Names of the authors' tensors and ours."""

import pytest

from rd_plugin.convert.names import bottleneck_name, expert_student_name, student_name, unused_by_authors


def test_layers_that_are_never_called() -> None:
    assert unused_by_authors(["conv4.weight", "bn4.bias", "conv3.weight"]) == {"conv4.weight", "bn4.bias"}


@pytest.mark.parametrize("rename", [bottleneck_name, student_name, expert_student_name])
def test_unknown_name(rename) -> None:
    with pytest.raises(ValueError, match="classifier"):
        rename("classifier.weight")
