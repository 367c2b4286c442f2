# SPDX-License-Identifier: Apache-2.0
import math

import pytest

from rd_plugin.models.distillation.schedule import warm_cosine


@pytest.mark.parametrize("steps", [1, 5, 20, 999, 1000, 5000])
def test_rate_rises_then_falls_to_a_tenth(steps: int) -> None:
    rates = [warm_cosine(step, steps) for step in range(steps + 1)]
    top = rates.index(max(rates))
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert max(rates) == 1
    assert math.isclose(rates[-1], 0.1) or steps == 1
    assert warm_cosine(2 * steps, steps) == pytest.approx(0.1)


def test_warm_up_of_a_short_training_is_short() -> None:
    assert [warm_cosine(step, 20) for step in range(3)] == [0.0, 1.0, 1.0]
