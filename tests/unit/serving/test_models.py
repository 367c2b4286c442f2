# SPDX-License-Identifier: Apache-2.0
"""Models that are kept as they are in their store."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from rd_plugin.inspection import Inspector
from rd_plugin.products import Store
from rd_plugin.serving.models import Models


def _load(model: Path, product: str) -> Inspector:
    return Inspector(model, product=product)


def test_a_model_is_loaded_once(products: Store) -> None:
    loads = []

    def load(model: Path, product: str) -> Inspector:
        loads.append(product)
        return _load(model, product)

    async def run() -> None:
        models = Models(products, load, 4)
        assert not models.ready
        for _ in range(3):
            await models.refresh()
        assert models.ready
        assert list(models.loaded) == ["gasket"]
        await models.close()
        assert not models.loaded

    asyncio.run(run())
    assert loads == ["gasket"]


def test_images_of_a_model_that_is_removed_are_finished(products: Store) -> None:
    async def run() -> str:
        models = Models(products, _load, 4)
        await models.refresh()
        queue = models.loaded["gasket"].queue
        go = Event()
        future = queue.submit(lambda _: go.wait(30) and "done")
        products.remove("gasket")
        await models.refresh()
        assert not models.loaded
        go.set()
        await models.close()
        return future.result(0)

    assert asyncio.run(run()) == "done"


def test_a_damaged_product_is_told_of_once_and_does_not_stop_the_others(
    products: Store, save: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    products.add("seal", save())
    (products.folder / "gasket" / "product.json").write_text("{}")

    async def run() -> None:
        models = Models(products, _load, 4)
        for _ in range(3):
            await models.refresh()
        assert list(models.loaded) == ["seal"]
        assert "does not describe a product" in models.failed["gasket"]
        products.remove("gasket")
        await models.refresh()
        assert models.failed == {}
        await models.close()

    asyncio.run(run())
    assert len([message for message in caplog.messages if "gasket cannot be loaded" in message]) == 1


def test_a_store_that_is_away_for_a_moment(products: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        models = Models(products, _load, 4)
        names = Store.names
        monkeypatch.setattr(Store, "names", _away)
        following = asyncio.create_task(models.follow(0.01))
        await asyncio.sleep(0.05)
        assert not following.done()
        monkeypatch.setattr(Store, "names", names)
        while not models.loaded:
            await asyncio.sleep(0.01)
        following.cancel()
        await models.close()

    asyncio.run(asyncio.wait_for(run(), 60))


def _away(_: Store) -> list[str]:
    msg = "the drive is away"
    raise OSError(msg)
