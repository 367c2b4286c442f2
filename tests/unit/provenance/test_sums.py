# SPDX-License-Identifier: Apache-2.0
"""The file of sums next to a checkpoint."""

from pathlib import Path

import pytest
import torch

from rd_plugin.provenance import copied_sums, read_sums, split_sums, sums_file, write_sums

SUMS = {"normal": torch.arange(3.0)}


def content(value: float = 1.0) -> dict:
    state = {"model.evidence.mean": torch.full((2,), value), "post_processor.threshold": torch.rand(1)}
    return {"state_dict": state, "callbacks": {"FusedStatistics": SUMS, "Other": {"a": 1}}}


def test_sums_go_into_a_file_and_are_found_again(tmp_path: Path) -> None:
    whole = content()
    rest, sums = split_sums(whole)
    assert rest["callbacks"] == {"FusedStatistics": {}, "Other": {"a": 1}}
    assert whole["callbacks"]["FusedStatistics"] is sums is SUMS
    write_sums(tmp_path / "model.ckpt", rest, sums)
    # Another threshold does not matter.
    assert read_sums(tmp_path / "model.ckpt", split_sums(content())[0])["normal"].tolist() == [0, 1, 2]
    (tmp_path / "model.ckpt").touch()
    (tmp_path / "last.ckpt").symlink_to("model.ckpt")
    assert read_sums(tmp_path / "last.ckpt", rest).keys() == {"normal"}
    assert read_sums(tmp_path / "elsewhere.ckpt", whole) is SUMS


def test_sums_that_are_missing_or_of_another_checkpoint(tmp_path: Path) -> None:
    rest = split_sums(content())[0]
    with pytest.raises(ValueError, match=r"model\.ckpt\.sums' is missing: .* Copy it from where"):
        read_sums(tmp_path / "model.ckpt", rest)
    write_sums(tmp_path / "model.ckpt", split_sums(content(value=2.0))[0], SUMS)
    with pytest.raises(ValueError, match=r"model\.ckpt\.sums' does not belong to '.*model\.ckpt'"):
        read_sums(tmp_path / "model.ckpt", rest)
    sums_file(tmp_path / "model.ckpt").write_bytes(b"cut off")
    with pytest.raises(ValueError, match=r"model\.ckpt\.sums' was refused"):
        read_sums(tmp_path / "model.ckpt", rest)


def test_sums_follow_a_copy_that_is_written(tmp_path: Path) -> None:
    old, new = tmp_path / "old.ckpt", tmp_path / "new.ckpt"
    write_sums(old, split_sums(content())[0], SUMS)
    with pytest.raises(OSError, match="full"), copied_sums(old, new):
        raise OSError(28, "full")
    assert [path.name for path in tmp_path.iterdir()] == ["old.ckpt.sums"]
    with copied_sums(old, new):
        assert not sums_file(new).exists()
    assert sums_file(new).read_bytes() == sums_file(old).read_bytes()
    with copied_sums(old, old):
        pass
    with copied_sums(tmp_path / "without.ckpt", new):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["old.ckpt.sums"]
