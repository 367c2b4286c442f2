# SPDX-License-Identifier: Apache-2.0
"""Optional work of a run: a failure is logged as a warning, and the results are kept."""

import functools
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

__all__ = ["courtesy", "spared"]

logger = logging.getLogger(__name__)

Hook = TypeVar("Hook", bound=Callable[..., Any])


@contextmanager
def courtesy(what: str) -> Iterator[None]:
    """Turn an error within the block into a warning.

    Args:
        what: Name of the result of the block, for the warning, such as ``"The report"``.

    Example:
        >>> with courtesy("The report"):
        ...     raise OSError("no space left")
    """
    try:
        yield
    except Exception as error:  # no error may lose the results
        reason = " ".join(str(error).split())
        logger.warning("%s is left out: %s: %s", what, type(error).__name__, reason, exc_info=_details())


def _details() -> bool:
    """Whether the traceback is shown."""
    return logging.getLogger().isEnabledFor(logging.DEBUG)


def spared(what: str) -> Callable[[Hook], Hook]:
    """Decorate a callback's hook whose failure must not stop the run.

    After a failure the callback's other decorated hooks do nothing until its attribute ``failed`` is ``False`` again,
    so that one error causes one warning, and nothing is made from incomplete data.
    """

    def decorate(hook: Hook) -> Hook:
        @functools.wraps(hook)
        def tried(self: Any, *args: Any, **kwargs: Any) -> None:
            if getattr(self, "failed", False):
                return
            self.failed = True
            with courtesy(what):
                hook(self, *args, **kwargs)
                self.failed = False

        return cast("Hook", tried)

    return decorate
