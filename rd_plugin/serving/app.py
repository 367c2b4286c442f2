# SPDX-License-Identifier: Apache-2.0
"""The addresses of the server."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.exception_handlers import http_exception_handler
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException as StarletteHTTPException

from rd_plugin.delivery import Deliverer
from rd_plugin.inspection import Inspector, Sink, Source, draw
from rd_plugin.products import Store
from rd_plugin.results import InspectionResult

from .limits import BodyLimits
from .metrics import Metrics
from .model_queue import QueueFullError
from .models import Loaded, Models
from .tokens import client_of

__all__ = ["LOOPBACK", "Settings", "make_app"]

#: Names of this computer.
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PAGE = Path(__file__).parent / "templates" / "page.html"
# The page loads nothing from elsewhere, and sends nothing elsewhere.
_PAGE_POLICY = (
    "default-src 'none'; connect-src 'self'; img-src blob: data:; script-src 'unsafe-inline'; "
    "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_RETRY = {"Retry-After": "1"}


@dataclass(frozen=True)
class Settings:
    """Limits of a server.

    Args:
        tokens: Tokens by client; empty if every program on this computer may send requests.
        max_bytes: Maximum size of a request's body, in bytes.
        queue: Maximum number of images that wait for a model or are being inspected.
        body_seconds: Time that a body has to arrive.
        follow_seconds: Time between two looks at the store.
    """

    tokens: Mapping[str, str] = field(default_factory=dict)
    max_bytes: int = 32 * 2**20
    queue: int = 64
    body_seconds: float = 30.0
    follow_seconds: float = 1.0


def make_app(
    store: Store, load: Callable[[Path, str], Inspector], settings: Settings, sinks: Sequence[Sink] = ()
) -> FastAPI:
    """Return the application that serves a store.

    Args:
        store: The products.
        load: Makes the inspector of a model, given its path and the product's name.
        settings: Limits.
        sinks: Receive each result before it is answered, from several threads.
    """
    models = Models(store, load, settings.queue)
    metrics = Metrics(models.loaded, [sink for sink in sinks if isinstance(sink, Deliverer)])

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        following = asyncio.create_task(models.follow(settings.follow_seconds))
        yield
        following.cancel()
        with suppress(asyncio.CancelledError):
            await following
        await models.close()

    app = FastAPI(title="rd-plugin serve", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.add_middleware(BodyLimits, max_bytes=settings.max_bytes, seconds=settings.body_seconds)

    @app.exception_handler(StarletteHTTPException)
    async def refuse(request: Request, error: StarletteHTTPException) -> Response:
        metrics.count_refused(error.status_code)
        return await http_exception_handler(request, error)

    def client(request: Request) -> str:
        """The client that sends a request, if it may."""
        if not settings.tokens:
            # A page of another site, open in a browser on this computer, may not send requests in its user's name.
            origin = request.headers.get("origin")
            if request.url.hostname not in LOOPBACK or (origin and origin != f"http://{request.headers['host']}"):
                raise HTTPException(403, "Requests must come from this computer, and not from another site's page.")
            return "local"
        found = client_of(request.headers.get("authorization"), settings.tokens)
        if found is None:
            raise HTTPException(
                401, "A client's token is needed: Authorization: Bearer TOKEN.", {"WWW-Authenticate": "Bearer"}
            )
        return found

    Sender = Annotated[str, Depends(client)]  # noqa: N806  # a type

    @app.get("/")
    async def page() -> Response:
        return Response(_PAGE.read_bytes(), media_type="text/html", headers={"Content-Security-Policy": _PAGE_POLICY})

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "running"}

    @app.get("/ready")
    async def ready() -> dict[str, str]:
        if not (models.ready and models.loaded):
            raise HTTPException(503, "No model is loaded yet.", _RETRY)
        return {"status": "ready"}

    @app.get("/metrics")
    async def numbers(_: Sender) -> Response:
        return Response(metrics.text(), media_type=metrics.content_type)

    @app.get("/products")
    async def products(_: Sender) -> list[dict[str, Any]]:
        names = sorted(models.loaded.keys() | models.failed.keys())
        return [_described(name, models.loaded.get(name), models.failed.get(name, "")) for name in names]

    @app.post("/inspect")
    async def inspect(
        request: Request,
        sender: Sender,
        product: Annotated[str, Query(max_length=60)] = "",
        path: Annotated[str, Query(max_length=500)] = "",
        part_id: Annotated[str | None, Query(max_length=200)] = None,
        overlay: bool = False,
    ) -> Response:
        content, name = await _image(request)
        begin = perf_counter()
        source = Source(path or name, content=content, part_id=part_id)
        # Nothing is awaited between the look and the queue, so that a model that is replaced loses no image.
        loaded = _named(models, product)

        def work(inspector: Inspector) -> tuple[InspectionResult, bytes]:
            result = inspector.inspect_one(source)
            picture = _jpeg(result) if overlay and result.picture is not None else b""
            result = replace(result, picture=None)
            for sink in sinks:
                sink.write(result)
            return result, picture

        try:
            future = loaded.queue.submit(work)
        except QueueFullError as error:
            raise HTTPException(503, "Too many images are waiting.", _RETRY) from error
        result, picture = await asyncio.wrap_future(future)
        metrics.count(result, sender, perf_counter() - begin)
        row = result.json()
        if picture:
            address = f"data:image/jpeg;base64,{base64.b64encode(picture).decode()}"
            row = json.dumps({**json.loads(row), "overlay": address})
        return Response(row, 422 if result.verdict == "error" else 200, media_type="application/json")

    return app


async def _image(request: Request) -> tuple[bytes, str]:
    """The image that a request carries, and its name if it has one: the body itself, or the file of a form."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
        return await request.body(), ""
    async with request.form(max_files=1, max_fields=0) as form:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise HTTPException(400, "A form must have one file, named 'file'.")
        return await file.read(), file.filename or ""


def _named(models: Models, name: str) -> Loaded:
    """The model of a product; the only one if no name is given."""
    if not name and len(models.loaded) == 1:
        return next(iter(models.loaded.values()))
    if name in models.loaded:
        return models.loaded[name]
    if not models.ready:
        raise HTTPException(503, "The models are not loaded yet.", _RETRY)
    known = ", ".join(sorted(models.loaded)) or "none"
    raise HTTPException(404, f"product must be one of the loaded products ({known}), got {name!r}.")


def _described(name: str, loaded: Loaded | None, error: str) -> dict[str, Any]:
    """What ``/products`` says about a product."""
    product = loaded.product if loaded else None
    return {
        "product": name,
        "model": product.model if product else "",
        "file": product.file if product else "",
        "added": product.added if product else "",
        "error": error,
    }


def _jpeg(result: InspectionResult) -> bytes:
    drawn = BytesIO()
    draw(result).save(drawn, "JPEG", quality=92)
    return drawn.getvalue()
