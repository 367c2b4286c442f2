# SPDX-License-Identifier: Apache-2.0
"""Work that a run can do without: when it fails, a warning names it, and the results stay."""

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
        what: What the block makes, for the warning, such as ``"The report"``.

    Example:
        >>> with courtesy("The report"):
        ...     raise OSError("no space left")
    """
    try:
        yield
    except Exception as error:  # whatever it is, the results are worth more
        reason = " ".join(str(error).split())
        logger.warning("%s is left out: %s: %s", what, type(error).__name__, reason, exc_info=_details())


def _details() -> bool:
    """Whether the traceback is shown."""
    return logging.getLogger().isEnabledFor(logging.DEBUG)


def spared(what: str) -> Callable[[Hook], Hook]:
    """Decorate a callback's hook whose failure costs what it makes, and not the run.

    The callback's other hooks that are decorated so do nothing either until its attribute ``failed`` is set to
    ``False``, so that one fault has one warning, and nothing is made of a part.

    Args:
        what: As in :func:`courtesy`.
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
