# SPDX-License-Identifier: Apache-2.0
"""Keep memory between the steps of training on a CPU."""

import ctypes
import sys

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.accelerators import CPUAccelerator

__all__ = ["MemoryReuse", "keep_freed_memory", "release_freed_memory"]

# Parameters of glibc's mallopt(3) and their defaults.
_TRIM_THRESHOLD, _TRIM_THRESHOLD_DEFAULT = -1, 128 * 1024
_TOP_PAD, _TOP_PAD_DEFAULT = -2, 128 * 1024
_MMAP_MAX, _MMAP_MAX_DEFAULT = -4, 65536

_NEVER = 2**31 - 1
_GROWTH = 64 * 1024 * 1024


def _glibc() -> ctypes.CDLL | None:
    """The process's C library, if it is one that can be told what to keep; musl and others lack mallopt."""
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None


def keep_freed_memory() -> None:
    """Let glibc's allocator keep freed memory for the next tensor; without glibc, do nothing."""
    if libc := _glibc():
        libc.mallopt(_MMAP_MAX, 0)
        libc.mallopt(_TRIM_THRESHOLD, _NEVER)
        libc.mallopt(_TOP_PAD, _GROWTH)


def release_freed_memory() -> None:
    """Go back to glibc's defaults and give free memory back to the system."""
    if libc := _glibc():
        libc.mallopt(_MMAP_MAX, _MMAP_MAX_DEFAULT)
        libc.mallopt(_TRIM_THRESHOLD, _TRIM_THRESHOLD_DEFAULT)
        libc.mallopt(_TOP_PAD, _TOP_PAD_DEFAULT)
        libc.malloc_trim(0)


class MemoryReuse(Callback):
    """Let glibc's allocator keep freed memory while a model is trained on a CPU.

    By default glibc takes every large tensor from the system and gives it back when it is freed, so that each step has
    all its memory mapped and zeroed anew: up to half of a step's time. With this callback the memory of one step
    serves the next; it is given back when training ends. Nothing is done on other systems and accelerators.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep freed memory from now on."""
        del pl_module
        if isinstance(trainer.accelerator, CPUAccelerator):
            keep_freed_memory()

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give it back."""
        del pl_module
        if isinstance(trainer.accelerator, CPUAccelerator):
            release_freed_memory()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give it back when training breaks off, too."""
        del exception
        self.on_fit_end(trainer, pl_module)
