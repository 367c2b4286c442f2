# SPDX-License-Identifier: Apache-2.0
"""Which part an image shows, by its path."""

from pathlib import Path

import pytest

from rd_plugin.data.part_names import check_names, chosen_part, group_by_part, part_of


def test_the_innermost_folder_counts() -> None:
    assert part_of("cap/line/screw/good/1.png", ["cap", "screw"]) == "screw"
    assert part_of(Path("other/cap.png"), ["cap", "screw"]) is None


def test_forms_of_a_letter_are_one() -> None:
    assert part_of("Gru\u0308n/1.png", ["Gr\u00fcn"]) == "Gr\u00fcn"


def test_images_by_part() -> None:
    assert group_by_part(["b/1", "a/2", "b/3"], ["a", "b", "c"]) == {"a": [1], "b": [0, 2]}
    with pytest.raises(ValueError, match=r"path 'x/1.png' is named after a part \(a, b\)"):
        group_by_part(["x/1.png"], ["a", "b"])


def test_an_unknown_part_is_answered_with_a_list() -> None:
    assert chosen_part("a", ["a", "b"]) == "a"
    with pytest.raises(ValueError, match="part must be one of a, b, got 'c'"):
        chosen_part("c", ["a", "b"])
    with pytest.raises(ValueError, match="part 'c': the model is not for several parts"):
        chosen_part("c", [])


def test_paths_that_say_another_part() -> None:
    check_names(["a/1.png", "b/1.png"], ["a", "b"])
    with pytest.raises(ValueError, match="is an image of part 'a', but has a folder named after part 'b'"):
        check_names(["a/b/1.png", "b/1.png"], ["a", "b"])
