# SPDX-License-Identifier: Apache-2.0
"""Names of version 0.2 work for one release, with a warning."""

from importlib import import_module

import pytest

from rd_plugin.renamed import _NAMES

PAIRS = [(room, old, *new) for room, names in _NAMES.items() for old, new in names.items()]


@pytest.mark.parametrize(("room", "old", "new_room", "new"), PAIRS)
def test_old_name_is_the_new_one(room: str, old: str, new_room: str, new: str) -> None:
    with pytest.warns(DeprecationWarning, match=rf"{old} is now rd_plugin\.{new_room}\.{new}; .* until version 0\.4"):
        found = getattr(import_module(f"rd_plugin.{room}"), old)
    assert found is getattr(import_module(f"rd_plugin.{new_room}"), new)


@pytest.mark.parametrize("room", _NAMES)
def test_other_names_are_missing(room: str) -> None:
    with pytest.raises(AttributeError, match="Nothing"):
        import_module(f"rd_plugin.{room}").Nothing  # noqa: B018
