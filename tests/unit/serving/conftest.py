# SPDX-License-Identifier: Apache-2.0
"""A store of small models, and an application that serves it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from rd_plugin.inspection import Inspector
from rd_plugin.products import Store
from rd_plugin.serving import Settings, make_app

from ...waiting import wait_until
from ..inspection.conftest import save

__all__ = ["products", "save", "serving"]


def png(level: int, side: int = 4) -> bytes:
    """A grey picture; the model calls it anomalous above 127."""
    content = BytesIO()
    Image.fromarray(np.full((side, side, 3), level, np.uint8)).save(content, "PNG")
    return content.getvalue()


@pytest.fixture
def products(save: Callable[..., Path], tmp_path: Path) -> Store:
    """A store with one product."""
    products = Store(tmp_path / "products")
    products.add("gasket", save(height=4))
    return products


@pytest.fixture
def serving(products: Store) -> Iterator[Callable[..., TestClient]]:
    """Serve the store, and return a client that runs on this computer, when all models are loaded."""
    with ExitStack() as stack:

        def start(settings: Settings | None = None, load: Callable | None = None, sinks: tuple = ()) -> TestClient:
            load = load or (lambda model, product: Inspector(model, product=product))
            settings = settings or Settings(follow_seconds=0.02)
            app = make_app(products, load, settings, sinks)
            client = stack.enter_context(TestClient(app, base_url="http://127.0.0.1:8000"))
            wait_until(lambda: client.get("/ready").status_code == 200)
            return client

        yield start
