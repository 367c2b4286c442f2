# SPDX-License-Identifier: Apache-2.0
"""What the command line acts on before anything is built."""

from pathlib import Path

import pytest
import torch

from rd_plugin.unread_arguments import heed_arguments

OURS = {"class_path": "rd_plugin.ReverseDistillation"}


@pytest.mark.parametrize("subcommand", ["validate", "test", "predict", "export"])
def test_a_model_that_was_never_trained_is_refused(subcommand: str) -> None:
    with pytest.raises(ValueError, match=rf"^ckpt_path is missing: without a checkpoint {subcommand} would take"):
        heed_arguments(subcommand, {"model": OURS})
    # Others of anomalib's need no training, such as WinClip; that is theirs to say.
    heed_arguments(subcommand, {"model": {"class_path": "anomalib.models.WinClip"}})
    heed_arguments(subcommand, {"model": OURS, "ckpt_path": "model.ckpt"})


def test_a_training_needs_no_checkpoint() -> None:
    heed_arguments("train", {"model": OURS})


def test_seed() -> None:
    arguments = {"seed_everything": 5}
    heed_arguments("train", arguments)
    once = torch.rand(3)
    heed_arguments("train", arguments)
    assert torch.rand(3).equal(once)
    drawn = {"seed_everything": True}
    heed_arguments("train", drawn)
    assert type(drawn["seed_everything"]) is int
    state = torch.get_rng_state()
    heed_arguments("train", {"seed_everything": False})
    assert torch.get_rng_state().equal(state)


def test_results_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    arguments = {"default_root_dir": tmp_path / "file" / "results"}
    with pytest.raises(OSError, match=r"Give another folder as default_root_dir\.$"):
        heed_arguments("train", arguments)
    heed_arguments("export", {**arguments, "export_root": tmp_path})
    heed_arguments("train", {"default_root_dir": "s3://bucket"})


def test_anomalibs_tiler_needs_a_stride() -> None:
    def tiler(**settings: object) -> dict:
        return {"class_path": "anomalib.callbacks.TilerConfigurationCallback", "init_args": settings}

    for callbacks in (tiler(enable=True, tile_size=128), [{"class_path": "Other"}, tiler(enable=True, stride=None)]):
        with pytest.raises(ValueError, match="TilerConfigurationCallback needs stride beside tile_size"):
            heed_arguments("train", {"trainer": {"callbacks": callbacks}})
    heed_arguments("train", {"trainer": {"callbacks": [tiler(enable=True, stride=64), tiler(enable=False)]}})
    heed_arguments("train", {"trainer": {"callbacks": None}})
