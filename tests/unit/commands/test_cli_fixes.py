# SPDX-License-Identifier: Apache-2.0
"""What both command lines act on before anything is built."""

from pathlib import Path

import pytest
import torch

from rd_plugin.commands.cli_fixes import fix_arguments

pytestmark = pytest.mark.usefixtures("log_level_as_before")

OURS = {"class_path": "rd_plugin.ReverseDistillation"}


@pytest.mark.parametrize("subcommand", ["validate", "test", "predict", "export"])
def test_a_model_that_was_never_trained_is_refused(subcommand: str) -> None:
    with pytest.raises(ValueError, match=rf"^ckpt_path is missing: without a checkpoint {subcommand} would use"):
        fix_arguments(subcommand, {"model": OURS})
    # Others of anomalib's need no training, such as WinClip; that is theirs to say.
    fix_arguments(subcommand, {"model": {"class_path": "anomalib.models.WinClip"}})
    fix_arguments(subcommand, {"model": OURS, "ckpt_path": "model.ckpt"})


def test_a_training_needs_no_checkpoint() -> None:
    fix_arguments("train", {"model": OURS})


def test_seed() -> None:
    arguments = {"seed_everything": 5}
    fix_arguments("train", arguments)
    once = torch.rand(3)
    fix_arguments("train", arguments)
    assert torch.rand(3).equal(once)
    drawn = {"seed_everything": True}
    fix_arguments("train", drawn)
    assert type(drawn["seed_everything"]) is int
    state = torch.get_rng_state()
    fix_arguments("train", {"seed_everything": False})
    assert torch.get_rng_state().equal(state)


def test_results_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    arguments = {"default_root_dir": tmp_path / "file" / "results"}
    with pytest.raises(OSError, match=r"Give another folder as default_root_dir\.$"):
        fix_arguments("train", arguments)
    fix_arguments("export", {**arguments, "export_root": tmp_path})
    fix_arguments("train", {"default_root_dir": "s3://bucket"})


def test_anomalibs_tiler_needs_a_stride() -> None:
    def tiler(**settings: object) -> dict:
        return {"class_path": "anomalib.callbacks.TilerConfigurationCallback", "init_args": settings}

    for callbacks in (tiler(enable=True, tile_size=128), [{"class_path": "Other"}, tiler(enable=True, stride=None)]):
        with pytest.raises(ValueError, match="TilerConfigurationCallback needs stride as well as tile_size"):
            fix_arguments("train", {"trainer": {"callbacks": callbacks}})
    fix_arguments("train", {"trainer": {"callbacks": [tiler(enable=True, stride=64), tiler(enable=False)]}})
    fix_arguments("train", {"trainer": {"callbacks": None}})


@pytest.mark.parametrize(("words", "validations"), [([], 5), (["--trainer.val_check_interval=1.0"], None)])
def test_schedule_that_is_given_goes_first(words: list[str], validations: int | None) -> None:
    model = {**OURS, "init_args": {"validations": 5}}
    fix_arguments("train", {"model": model}, words)
    assert model["init_args"]["validations"] == validations


@pytest.mark.parametrize(("words", "summary"), [([], False), (["-v"], None)])
def test_lightnings_table_of_modules_is_shown_when_asked_for(words: list[str], summary: bool | None) -> None:
    arguments = {"model": OURS, "trainer": {"enable_model_summary": None}}
    fix_arguments("train", arguments, words)
    assert arguments["trainer"]["enable_model_summary"] is summary


def test_model_that_is_a_file_is_left_alone() -> None:
    fix_arguments("inspect", {"model": Path("model.xml")})


@pytest.mark.parametrize(
    ("pre_processor", "words", "size"),
    [
        ({"class_path": "rd_plugin.ExactPreProcessor"}, [], None),
        ({"class_path": "rd_plugin.ExactPreProcessor"}, ["--model.image_size", "[256,256]"], [256, 256]),
        (False, [], None),
        (True, [], [256, 256]),
    ],
)
def test_size_of_a_configuration_gives_way_to_a_pre_processor(
    pre_processor: object, words: list[str], size: list[int] | None
) -> None:
    """A crop in a file of one's own beside the configuration folder; what is typed is refused by the model."""
    model = {**OURS, "init_args": {"image_size": [256, 256], "pre_processor": pre_processor}}
    fix_arguments("train", {"model": model}, words)
    assert model["init_args"]["image_size"] == size
