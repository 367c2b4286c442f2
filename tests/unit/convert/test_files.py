# SPDX-License-Identifier: Apache-2.0
"""Reading without running code, writing whole or not at all."""

import os
import pickle
import stat

import pytest
import torch

from rd_plugin import ReverseDistillation
from rd_plugin.convert import convert_anomalib, convert_rd4ad, convert_rdpp, convert_urd
from rd_plugin.convert.files import check_output, read_checkpoint, write_checkpoint


def write_zip(content, path):
    torch.save(content, path)


def write_legacy(content, path):
    torch.save(content, path, _use_new_zipfile_serialization=False)


def write_pickle(content, path):
    path.write_bytes(pickle.dumps(content))


@pytest.mark.parametrize("write", [write_zip, write_legacy, write_pickle])
@pytest.mark.parametrize("convert", [convert_rd4ad, convert_rdpp, convert_urd, convert_anomalib])
def test_pickled_code_is_refused_and_not_run(tmp_path, intruder, convert, write):
    source = tmp_path / "source.pth"
    parts = ("decoder", "teacher", "student", "state_dict", "hyper_parameters")
    write({"bn": intruder, **{part: {} for part in parts}}, source)
    with pytest.raises(ValueError, match=r"source\.pth' was refused: .* what could run code is never loaded\.$"):
        convert(source, tmp_path / "ours.ckpt")
    assert not intruder.trace.exists()
    assert [path.name for path in tmp_path.iterdir()] == ["source.pth"]


def test_the_crafted_file_would_run_code(tmp_path, intruder):
    # The test above is worth something only if the file is dangerous.
    write_zip(intruder, tmp_path / "source.pth")
    torch.load(tmp_path / "source.pth", weights_only=False).close()
    assert intruder.trace.exists()


@pytest.mark.parametrize("content", [b"", b"no checkpoint at all", b"PK\x03\x04 cut off"])
def test_damaged_file(tmp_path, content):
    source = tmp_path / "source.pth"
    source.write_bytes(content)
    with pytest.raises(
        ValueError, match=r"source\.pth' was refused: it is (not a torch\.save file of plain data|empty or cut off)"
    ):
        read_checkpoint(source)


def test_source_does_not_exist(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"source .*none\.pth' is not a file"):
        read_checkpoint(tmp_path / "none.pth")


@pytest.mark.parametrize("convert", [convert_rd4ad, convert_rdpp, convert_urd, convert_anomalib])
def test_output_folder_does_not_exist(tmp_path, convert):
    # Found before the source is looked at, which does not exist either.
    with pytest.raises(FileNotFoundError, match=r"the folder .*none' does not exist"):
        convert(tmp_path / "source.pth", tmp_path / "none" / "ours.ckpt")
    assert not (tmp_path / "none").exists()


def test_output_is_a_folder(tmp_path):
    with pytest.raises(ValueError, match="is a folder"):
        check_output(tmp_path, tmp_path / "source.pth")


def test_output_is_the_source(tmp_path):
    with pytest.raises(ValueError, match="must not be overwritten"):
        check_output(tmp_path / "one.ckpt", tmp_path / "x" / ".." / "one.ckpt")


def test_folder_without_permission(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: (path, mode) != (tmp_path, os.W_OK))
    with pytest.raises(PermissionError, match="cannot be written to"):
        check_output(tmp_path / "ours.ckpt", tmp_path / "source.pth")


@pytest.fixture(scope="module")
def model():
    return ReverseDistillation(backbone="resnet18", layers=["layer1"], pre_trained=False)


@pytest.mark.parametrize("error", [OSError("no space left"), KeyboardInterrupt()])
def test_failed_write_leaves_the_old_file_alone(tmp_path, monkeypatch, model, error):
    output = tmp_path / "ours.ckpt"
    output.write_text("old")
    written = []

    def fail(descriptor):
        del descriptor
        written.extend(path.name for path in tmp_path.iterdir())
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(type(error)):
        write_checkpoint(model, output, "RD4AD")
    assert len(written) == 2
    assert output.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["ours.ckpt"]


def test_write_replaces_the_old_file(tmp_path, model):
    output = tmp_path / "ours.ckpt"
    output.write_text("old")
    write_checkpoint(model, output, "RD4AD")
    assert "state_dict" in read_checkpoint(output)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ours.ckpt", "ours.json"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(output.stat().st_mode) == 0o666 & ~umask
