# SPDX-License-Identifier: Apache-2.0
"""The pre-processor that exports apply as the engine does."""

import torch
from torchvision.transforms.v2 import CenterCrop, Compose, Resize

from rd_plugin import ExactPreProcessor
from rd_plugin.export import ExportableCenterCrop, ExportableResize


def _kinds(pre_processor: ExactPreProcessor) -> list[type]:
    return [type(part) for part in pre_processor.export_transform.transforms]


def test_forward_resizes_as_the_engine() -> None:
    images = torch.rand(2, 3, 300, 200)
    transform = Compose([Resize((32, 48)), CenterCrop(24)])
    assert torch.equal(ExactPreProcessor(transform)(images), transform(images))


def test_checkpoint_restores_the_exportable_transform() -> None:
    saved = ExactPreProcessor(Compose([Resize((32, 48)), CenterCrop(24)])).checkpoint_config()
    restored = ExactPreProcessor()
    assert restored.export_transform is None
    restored.load_checkpoint_config(saved)
    assert _kinds(restored) == [ExportableResize, ExportableCenterCrop]
    # What stands in a checkpoint is torchvision's, which anomalib's own pre-processor reads, too.
    assert [part["class_path"].rsplit(".", 1)[1] for part in saved["transform"]["init_args"]["transforms"]] == [
        "Resize",
        "CenterCrop",
    ]
