# SPDX-License-Identifier: Apache-2.0
"""A folder of models by name."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rd_plugin.inspection import load_inferencer
from rd_plugin.products import Store, store

Save = Callable[..., Path]


def test_products_are_added_listed_and_removed(save: Save, tmp_path: Path) -> None:
    products = Store(tmp_path / "products")
    assert products.names() == []
    for name in ("gasket", "Prüfteil 1.b".replace(" ", "_"), "9"):
        product = products.add(name, save())
        assert products.get(name) == product
        assert load_inferencer(products.model(product)).parallel >= 1
        assert sorted(file.name for file in products.model(product).parent.iterdir()) == ["model.bin", "model.xml"]
    assert products.names() == ["9", "Prüfteil_1.b", "gasket"]
    products.remove("9")
    assert products.names() == ["Prüfteil_1.b", "gasket"]
    assert sorted(path.name for path in products.folder.iterdir()) == ["Prüfteil_1.b", "gasket"]
    with pytest.raises(FileNotFoundError, match=r"product '9' is not in .*; there: Prüfteil_1.b, gasket"):
        products.get("9")


def test_record_of_a_model_goes_with_it(save: Save, tmp_path: Path) -> None:
    model = save()
    model.with_suffix(".json").write_text(json.dumps({"method": "Mean", "rd_plugin_provenance": {}, "steps": 3}))
    product = Store(tmp_path / "products").add("gasket", model)
    assert product.model == load_inferencer(model).record_id != ""


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../a", "a/b", "/etc", "a\\b", ".hidden", "-f", "a\nb", "a b", "x" * 61]
)
def test_names_that_lead_elsewhere_are_refused(name: str, save: Save, tmp_path: Path) -> None:
    products = Store(tmp_path / "products")
    for act in (lambda: products.add(name, save()), lambda: products.get(name), lambda: products.remove(name)):
        with pytest.raises(ValueError, match="product must be a name of up to 60 letters"):
            act()
    assert not products.folder.exists()


def test_a_product_is_replaced_only_if_asked_for(save: Save, tmp_path: Path) -> None:
    products = Store(tmp_path / "products")
    first = products.add("gasket", save())
    with pytest.raises(FileExistsError, match=r"product 'gasket' is in .* already; give --replace"):
        products.add("gasket", save("other"))
    assert products.get("gasket") == first
    second = products.add("gasket", save("other"), replace=True)
    assert (first.file, second.file) == ("model.xml", "other.xml")
    assert products.get("gasket") == second
    assert sorted(path.name for path in (products.folder / "gasket").iterdir()) == [second.folder, "product.json"]


def test_what_fails_leaves_things_as_they_were(save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    products = Store(tmp_path / "products")
    (tmp_path / "broken.xml").write_text("<net/>")
    for model, error in ((tmp_path / "broken.xml", ValueError), (tmp_path / "none.xml", FileNotFoundError)):
        with pytest.raises(error, match="model"):
            products.add("gasket", model)
        assert products.names() == []
        assert not (products.folder / "gasket").exists()
    first = products.add("gasket", save())

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store.shutil, "copyfile", full)
    with pytest.raises(OSError, match="No space left"):
        products.add("gasket", save("other"), replace=True)
    assert products.get("gasket") == first
    assert sorted(path.name for path in (products.folder / "gasket").iterdir()) == [first.folder, "product.json"]


def test_what_a_killed_program_leaves_is_no_product(save: Save, tmp_path: Path) -> None:
    products = Store(tmp_path / "products")
    (products.folder / "gasket" / ".1234.partial").mkdir(parents=True)
    (products.folder / "notes.txt").touch()
    assert products.names() == []
    products.add("gasket", save())
    assert products.names() == ["gasket"]


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{}", '{"folder": "../..", "file": "model.xml", "model": "", "sha256": "", "added": ""}'],
)
def test_damaged_entries_are_named_and_can_be_removed(content: str, save: Save, tmp_path: Path) -> None:
    products = Store(tmp_path / "products")
    products.add("gasket", save())
    (products.folder / "gasket" / "product.json").write_text(content)
    with pytest.raises(ValueError, match=r"product.json' does not describe a product; remove 'gasket'"):
        products.get("gasket")
    products.remove("gasket")
    assert list(products.folder.iterdir()) == []


def test_product_of_a_path_is_its_innermost_folder(save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    products = Store(tmp_path / "products")
    for name in ("gasket", "seal"):
        products.add(name, save())
    assert products.product_of("line/seal/gasket/good/1.png") == "gasket"
    assert products.product_of("line/seals/gasket.png") is None
    (tmp_path / "seal").mkdir()
    monkeypatch.chdir(tmp_path / "seal")
    assert products.product_of("1.png") == "seal"
