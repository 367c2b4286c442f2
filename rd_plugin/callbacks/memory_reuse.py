# SPDX-License-Identifier: Apache-2.0
"""Keep memory between the steps of training on a CPU."""

import ctypes
import sys

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.accelerators import CPUAccelerator

__all__ = ["MemoryReuse"]

# Parameters of glibc's mallopt(3) and their defaults.
_TRIM_THRESHOLD, _TRIM_THRESHOLD_DEFAULT = -1, 128 * 1024
_TOP_PAD, _TOP_PAD_DEFAULT = -2, 128 * 1024
_MMAP_MAX, _MMAP_MAX_DEFAULT = -4, 65536

_NEVER = 2**31 - 1
_GROWTH = 64 * 1024 * 1024


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
            self._configure(mmap_max=0, trim_threshold=_NEVER, top_pad=_GROWTH)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Go back to the defaults and give free memory back to the system."""
        del pl_module
        if isinstance(trainer.accelerator, CPUAccelerator):
            self._configure(_MMAP_MAX_DEFAULT, _TRIM_THRESHOLD_DEFAULT, _TOP_PAD_DEFAULT, trim=True)

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Do the same when training breaks off."""
        del exception
        self.on_fit_end(trainer, pl_module)

    @staticmethod
    def _configure(mmap_max: int, trim_threshold: int, top_pad: int, trim: bool = False) -> None:
        libc = ctypes.CDLL(None) if sys.platform == "linux" else None
        # musl and other C libraries lack mallopt.
        if libc is None or not hasattr(libc, "mallopt") or not hasattr(libc, "malloc_trim"):
            return
        libc.mallopt(_MMAP_MAX, mmap_max)
        libc.mallopt(_TRIM_THRESHOLD, trim_threshold)
        libc.mallopt(_TOP_PAD, top_pad)
        if trim:
            libc.malloc_trim(0)
