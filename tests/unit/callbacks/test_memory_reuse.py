# SPDX-License-Identifier: Apache-2.0
import ctypes
from types import SimpleNamespace

import pytest
from lightning.pytorch import LightningModule
from lightning.pytorch.accelerators import CPUAccelerator, CUDAAccelerator

from rd_plugin import ReverseDistillation
from rd_plugin.callbacks import MemoryReuse

CPU = SimpleNamespace(accelerator=CPUAccelerator())
GPU = SimpleNamespace(accelerator=CUDAAccelerator())
# mallopt(3): M_TRIM_THRESHOLD, M_TOP_PAD and M_MMAP_MAX, with glibc's defaults.
DEFAULTS = {-1: 128 * 1024, -2: 128 * 1024, -4: 65536}


class Library:
    """A C library that writes down what it is told."""

    def __init__(self) -> None:
        self.settings: dict[int, int] = {}
        self.trims = 0

    def mallopt(self, parameter: int, value: int) -> int:
        self.settings[parameter] = value
        return 1

    def malloc_trim(self, padding: int) -> int:
        del padding
        self.trims += 1
        return 1


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    library = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: library)
    monkeypatch.setattr("sys.platform", "linux")
    return library


def test_memory_is_kept_in_training_and_given_back_after_it(library: Library) -> None:
    callback, module = MemoryReuse(), LightningModule()
    callback.on_fit_start(CPU, module)
    assert library.settings[-4] == 0
    assert library.settings[-1] > DEFAULTS[-1]
    assert library.trims == 0
    callback.on_fit_end(CPU, module)
    assert library.settings == DEFAULTS
    assert library.trims == 1


def test_nothing_is_done_on_other_accelerators(library: Library) -> None:
    MemoryReuse().on_fit_start(GPU, LightningModule())
    MemoryReuse().on_fit_end(GPU, LightningModule())
    assert not library.settings
    assert not library.trims


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_nothing_is_done_on_other_systems(platform: str, library: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", platform)
    MemoryReuse().on_fit_start(CPU, LightningModule())
    assert not library.settings


def test_other_c_libraries_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: SimpleNamespace())
    MemoryReuse().on_fit_start(CPU, LightningModule())
    MemoryReuse().on_fit_end(CPU, LightningModule())


def test_real_library_takes_the_calls() -> None:
    MemoryReuse().on_fit_start(CPU, LightningModule())
    MemoryReuse().on_fit_end(CPU, LightningModule())


def test_models_bring_it_along() -> None:
    callbacks = ReverseDistillation("resnet18", pre_trained=False).configure_callbacks()
    assert sum(isinstance(callback, MemoryReuse) for callback in callbacks) == 1
