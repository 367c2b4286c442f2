# SPDX-License-Identifier: Apache-2.0
"""The models of a store, loaded, and loaded again when they are replaced."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rd_plugin.inspection import Inspector
from rd_plugin.products import Product, Store

from .model_queue import ModelQueue

__all__ = ["Loaded", "Models"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Loaded:
    """A product whose model is loaded, and the queue in front of it."""

    product: Product
    queue: ModelQueue


class Models:
    """The loaded models of a store. All methods are called in one event loop.

    Args:
        store: The products.
        load: Makes the inspector of a model, given its path and the product's name.
        limit: Maximum number of images in the queue of a model.

    Attributes:
        loaded: The loaded models by product.
        failed: Messages of products whose current model cannot be loaded; an earlier one stays in use.
        ready: Whether all products have been looked at once.
    """

    def __init__(self, store: Store, load: Callable[[Path, str], Inspector], limit: int) -> None:
        self._store = store
        self._load = load
        self._limit = limit
        self.loaded: dict[str, Loaded] = {}
        self.failed: dict[str, str] = {}
        self._tried: dict[str, Product] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self.ready = False

    async def follow(self, seconds: float = 1.0) -> None:
        """Keep the models as they are in the store, until cancelled.

        Args:
            seconds: Time between two looks at the store.
        """
        while True:
            try:
                await self.refresh()
            except OSError as error:  # such as a network drive that is away for a moment
                logger.warning("%s", error)
            await asyncio.sleep(seconds)

    async def refresh(self) -> None:
        """Load the models that are new in the store, and drop those that no longer exist.

        A model that takes the place of another one is loaded first. The other one finishes the images in its queue.
        """
        names = await asyncio.to_thread(self._store.names)
        for name in self.loaded.keys() - set(names):
            logger.info("Product %s was removed.", name)
            self._retire(self.loaded.pop(name))
        for name in (self._tried.keys() | self.failed.keys()) - set(names):
            self._tried.pop(name, None)
            self.failed.pop(name, None)
        for name in names:
            try:
                product = await asyncio.to_thread(self._store.get, name)
                if self._tried.get(name) == product:
                    continue
                self._tried[name] = product
                inspector = await asyncio.to_thread(self._load, self._store.model(product), name)
            except Exception as error:  # runtimes raise errors of their own types
                if self.failed.get(name) != str(error):
                    logger.warning("Product %s cannot be loaded: %s", name, error)
                self.failed[name] = str(error)
                continue
            self.failed.pop(name, None)
            before = self.loaded.get(name)
            self.loaded[name] = Loaded(product, ModelQueue(inspector, self._limit))
            logger.info("Product %s: model %s is loaded.", name, product.model)
            if before is not None:
                self._retire(before)
        self.ready = True

    def _retire(self, loaded: Loaded) -> None:
        task = asyncio.create_task(asyncio.to_thread(loaded.queue.close))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Finish the images in all queues."""
        for name in list(self.loaded):
            self._retire(self.loaded.pop(name))
        await asyncio.gather(*self._closing)
