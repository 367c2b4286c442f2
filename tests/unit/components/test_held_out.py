# SPDX-License-Identifier: Apache-2.0
import pytest

from rd_plugin.components import held_out, perturbed_places, spread


@pytest.mark.parametrize("count", [1, 5, 31, 43, 200])
def test_perturbed_images_are_not_held_out(count: int) -> None:
    places = perturbed_places(count)
    assert len(places) == len(set(places)) == min(32, int((~held_out(range(count))).sum()))
    assert not held_out(places).any()


def test_spread_takes_all_of_few_and_reaches_the_end_of_many() -> None:
    assert spread([4, 7], 5) == [4, 7]
    assert spread(range(100), 4) == [0, 25, 50, 75]
