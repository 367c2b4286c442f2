# SPDX-License-Identifier: Apache-2.0
"""``rd-plugin serve``: inspect images sent over HTTP."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import NonNegativeInt, PositiveFloat, PositiveInt

from rd_plugin.inspection import Inspector, Precision
from rd_plugin.products import Store

from .delivery import add_delivery_arguments, deliverers

__all__ = ["add_arguments", "run"]

# 3 GB while two images of this size are inspected and two are read, which clients may send at any time.
_MAX_PIXELS = 8192 * 8192
# How many of the last images are compared with the training images.
_WINDOW = 50


def add_arguments(parser: ArgumentParser) -> None:
    """Add the arguments."""
    add: Any = parser.add_argument
    add("store", metavar="STORE", type=Path, help="folder of products, see `rd-plugin products`")
    add("--host", type=str, default="127.0.0.1", help="address to listen on; another computer's clients need tokens")
    add("--port", type=NonNegativeInt, default=8000, help="port to listen on; 0 for any free port")
    add("--tokens", metavar="FILE", type=Path | None, help="file with a line for each client: its name and its token")
    add("--queue", type=PositiveInt, default=64, help="maximum number of images that wait for a model")
    add("--max_bytes", type=PositiveInt, default=32 * 2**20, help="maximum size of a request")
    add("--max_pixels", type=PositiveInt, default=_MAX_PIXELS, help="maximum number in an image")
    add("--body_seconds", type=PositiveFloat, default=30.0, help="maximum time for a request to arrive")
    add("--threads", type=PositiveInt | None, help="number of threads of a model; all cores by default")
    add("--part_id", metavar="REGEX", type=str | None, help="finds the part's name in the path, such as 'SN[0-9]+'")
    add("--precision", type=Precision, default="float32", help="less exact (.xml): bfloat16, float16 (NPU)")
    add("--device", type=str, default="cpu", help="GPU, NPU or AUTO (.xml), or cuda; compared with the CPU once")
    add_delivery_arguments(parser)


def run(arguments: Namespace) -> None:
    """Serve until a signal stops it.

    Raises:
        ImportError: If the packages of the extra ``serve`` are missing.
        OSError: If the store or the tokens do not exist, or the port cannot be used.
        ValueError: If an argument cannot be used.
    """
    try:
        from rd_plugin.serving import Settings, check_host, make_app, read_tokens, serve
    except ImportError as error:
        msg = f"serve needs {error.name}: pip install 'rd-plugin[serve]'."
        raise ImportError(msg) from error
    if not arguments.store.is_dir():
        msg = f"store {str(arguments.store)!r} is not a folder; make it with `rd-plugin products add`."
        raise FileNotFoundError(msg)
    check_host(arguments.host, arguments.tokens is not None)
    settings = Settings(
        tokens={} if arguments.tokens is None else read_tokens(arguments.tokens),
        max_bytes=arguments.max_bytes,
        queue=arguments.queue,
        body_seconds=arguments.body_seconds,
    )

    def load(model: Path, product: str) -> Inspector:
        return Inspector(
            model,
            max_pixels=arguments.max_pixels,
            threads=arguments.threads,
            precision=arguments.precision,
            window=_WINDOW,
            part_id=arguments.part_id,
            device=arguments.device,
            product=product,
        )

    with ExitStack() as stack:
        sinks = []
        for sink in deliverers(arguments):
            stack.callback(sink.close)
            sinks.append(sink)
        serve(
            make_app(Store(arguments.store), load, settings, sinks),
            arguments.host,
            arguments.port,
            settings.body_seconds,
        )
