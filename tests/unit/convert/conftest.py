# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the converters' tests."""

import os

import pytest
import timm
import torch

from .foreign import ExpertStudent, Intruder, build_theirs, fill, save


@pytest.fixture(scope="session")
def theirs_resnet18(tmp_path_factory):
    """anomalib's model with a ResNet-18, and its checkpoint."""
    model = build_theirs()
    return model, save(model, tmp_path_factory.mktemp("theirs") / "theirs.ckpt", pre_trained=True)


@pytest.fixture(scope="session")
def authors_resnet18(tmp_path_factory, theirs_resnet18):
    """A checkpoint of the authors' program: their modules have the names and shapes of anomalib's."""
    model, _ = theirs_resnet18
    path = tmp_path_factory.mktemp("authors") / "authors.pth"
    torch.save({"bn": model.model.bottleneck.state_dict(), "decoder": model.model.decoder.state_dict()}, path)
    return path


@pytest.fixture(scope="session")
def expert_authors_resnet18(tmp_path_factory, theirs_resnet18):
    """Teacher and student of RD with Expert's authors, were they made from a ResNet-18, and their checkpoint."""
    teacher = fill(timm.create_model("resnet18", pretrained=False), seed=3).eval()
    student = ExpertStudent(theirs_resnet18[0].model).eval()
    # Nothing counted: the checkpoint does not tell whether its student was trained guided or not.
    for name, buffer in student.named_buffers():
        if name.endswith("num_batches_tracked"):
            buffer.zero_()
    path = tmp_path_factory.mktemp("expert_authors") / "authors.pth"
    # Their teacher is a ResNet within a module of their own.
    names = {f"encoder.{name}": tensor for name, tensor in teacher.state_dict().items()}
    torch.save({"teacher": names, "student": student.state_dict()}, path)
    return teacher, student, path


@pytest.fixture(scope="session")
def teacher_weights(tmp_path_factory):
    """A file with the weights of a whole ResNet-18."""
    path = tmp_path_factory.mktemp("weights") / "resnet18.pth"
    torch.save(fill(timm.create_model("resnet18", pretrained=False), seed=2).state_dict(), path)
    return path


@pytest.fixture
def no_downloads(monkeypatch):
    """Fail where timm is asked for weights and not given them."""
    create_model = timm.create_model

    def create_without_network(*args, **kwargs):
        given = "state_dict" in (kwargs.get("pretrained_cfg_overlay") or {})
        assert given or not kwargs.get("pretrained"), "weights were asked for from the network"
        return create_model(*args, **kwargs)

    monkeypatch.setattr(timm, "create_model", create_without_network)


@pytest.fixture
def offline_environment():
    """Environment for a process that must not use the network."""
    return {**os.environ, "HF_HUB_OFFLINE": "1", "CUDA_VISIBLE_DEVICES": ""}


@pytest.fixture
def intruder(tmp_path):
    """An object that creates the file ``tmp_path / "trace"`` when it is unpickled."""
    return Intruder(tmp_path / "trace")
