# SPDX-License-Identifier: Apache-2.0
"""Images of several products in one run."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rd_plugin.inspection import Inspector, find_images
from rd_plugin.products import MixedInspector, Store

from ...pictures import draw

Save = Callable[..., Path]


@pytest.fixture
def products(save: Save, tmp_path: Path) -> Store:
    """Three products."""
    products = Store(tmp_path / "products")
    for name in ("gasket", "seal", "unused"):
        products.add(name, save(name, height=4))
    return products


def mixed_of(products: Store) -> MixedInspector:
    """Inspects with the models of a store."""
    return MixedInspector(
        products.names,
        products.product_of,
        lambda name: Inspector(products.model(products.get(name)), product=name),
    )


def test_each_image_is_inspected_with_its_own_model(products: Store, tmp_path: Path) -> None:
    for index, folder in enumerate(("seal", "gasket", "gasket/deep", "none")):
        draw(tmp_path / "in" / folder / "1.png", 51 * index)
    mixed = mixed_of(products)
    seen = []
    sources = find_images([str(tmp_path / "in"), "missing.png"])
    results = list(mixed.inspect(sources, [lambda result: seen.append(result.picture is not None)]))
    assert [(Path(result.path).parent.name, result.product, result.verdict) for result in results] == [
        ("gasket", "gasket", "normal"),
        ("deep", "gasket", "normal"),
        ("none", "", "error"),
        ("seal", "seal", "normal"),
        ("", "", "error"),
    ]
    assert results[2].reason == "no folder in its path is named after a product (gasket, seal, unused)."
    assert all(result.time for result in results)
    assert list(mixed.inspectors) == ["gasket", "seal"]
    assert sorted(seen) == [False, False, True, True, True]
    assert all(result.picture is None for result in results)
    (alone,) = Inspector(products.model(products.get("gasket"))).inspect(find_images([results[0].path]))
    assert results[0].score == alone.score


def test_names_of_models_for_a_run_that_continues(products: Store) -> None:
    known = {products.get(name).model for name in products.names()}
    assert len(known - {""}) == 3
    assert products.models() == known


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="contains no product; add one with `rd-plugin products add`"):
        Store(tmp_path).models()


def test_what_the_path_does_not_say_may_be_recognized(products: Store, tmp_path: Path) -> None:
    for index, name in enumerate(("1.png", "2.png", "3.png")):
        draw(tmp_path / "in" / name, 51 * index)
    found = {"1.png": ("seal",), "2.png": ("seal", "gasket"), "3.png": ()}
    mixed = MixedInspector(
        products.names,
        products.product_of,
        lambda name: Inspector(products.model(products.get(name)), product=name),
        recognize=lambda source: found[Path(source.path).name],
    )
    results = list(mixed.inspect(find_images([str(tmp_path / "in")])))
    assert [(result.product, result.verdict) for result in results] == [
        ("seal", "normal"),
        ("", "error"),
        ("", "error"),
    ]
    nowhere = "no folder in its path is named after a product (gasket, seal, unused)"
    assert results[1].reason == f"{nowhere}, and it may show seal or gasket, which are about equally near."
    assert results[2].reason == f"{nowhere}."
