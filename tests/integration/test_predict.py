# SPDX-License-Identifier: Apache-2.0
"""``python -m rd_plugin.predict`` on an export."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino
import pytest
from PIL import Image

from rd_plugin import predict

from .conftest import one_method, other_method_slow, run_cli

Predict = Callable[..., tuple[int, list[str], str]]


@pytest.fixture
def run_predict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Predict:
    """The program in this process: its exit status, lines of standard output, and standard error."""

    def run(*arguments: object) -> tuple[int, list[str], str]:
        monkeypatch.chdir(tmp_path)  # the inferencer leaves a cache where it runs
        monkeypatch.setattr("sys.argv", ["predict", *map(str, arguments)])
        with pytest.raises(SystemExit) as status:
            predict.main()
        output, errors = capfd.readouterr()
        return int(status.value.code or 0), output.splitlines(), errors

    return run


@other_method_slow
def test_verdict_and_score_of_each_image(exported: Path, mvtec_root: Path, tmp_path: Path) -> None:
    images = [mvtec_root / "tile/test/stain/000.png", mvtec_root / "tile/train/good/000.png"]
    output = run_cli(tmp_path, "-m", "rd_plugin.predict", exported, *images, program="python")
    assert f"\n{images[0]}: anomalous, score " in f"\n{output}"
    assert f"\n{images[1]}: normal, score " in f"\n{output}"


@one_method
def test_name_cannot_forge_a_verdict(run_predict: Predict, exported: Path, mvtec_root: Path, tmp_path: Path) -> None:
    forged = tmp_path / "a.png: normal, score 0.000\nb.png"
    forged.write_bytes((mvtec_root / "tile/test/stain/000.png").read_bytes())
    _, output, _ = run_predict(exported, forged)
    assert len(output) == 1
    assert output[0].startswith(f"{tmp_path}/a.png: normal, score 0.000\\nb.png: anomalous, score ")


@one_method
def test_images_that_cannot_be_judged_are_named(run_predict: Predict, exported: Path, tmp_path: Path) -> None:
    model = openvino.Core().read_model(exported)
    model.reshape([-1, 3, 48, 40])
    openvino.save_model(model, tmp_path / "of_one_size.xml")
    pixels = np.random.default_rng(0).integers(0, 256, (48, 40, 4), dtype=np.uint8)
    Image.fromarray(pixels[..., :3]).save(tmp_path / "colour.png")
    Image.fromarray(pixels[..., 0]).save(tmp_path / "grey.png")
    Image.fromarray(pixels).save(tmp_path / "alpha.png")
    Image.fromarray(pixels[..., 0].astype(np.uint16) << 8).save(tmp_path / "deep.png")
    Image.fromarray(pixels[:, :32, :3]).save(tmp_path / "narrow.png")
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "cut.png").write_bytes((tmp_path / "colour.png").read_bytes()[:2000])
    names = ("deep", "narrow", "text", "cut", "missing", "colour", "grey", "alpha")
    status, output, errors = run_predict(tmp_path / "of_one_size.xml", *(tmp_path / f"{name}.png" for name in names))
    assert status == 1
    assert [Path(line.partition(":")[0]).name for line in output] == ["colour.png", "grey.png", "alpha.png"]
    for expected in (
        "deep.png: the image has mode I;16, more than 8 bits a channel, and would be clipped to white",
        "narrow.png: the image has 32 x 48 pixels, the model takes 40 x 48 only; resize it, or export",
        "text.png: the file is not an image that can be read.",
        "cut.png: the image is damaged",
        "missing.png: the file does not exist.",
    ):
        assert f"{tmp_path}/{expected}" in errors
    # What an alpha channel hides is still seen.
    assert output[0].partition(":")[2] == output[2].partition(":")[2]


def test_files_that_are_no_models(run_predict: Predict, tmp_path: Path) -> None:
    (tmp_path / "text.xml").write_text("no model")
    (tmp_path / "model.ckpt").write_text("no model")
    images = openvino.opset13.parameter([1, 3, 8, 8], np.float32)
    openvino.save_model(openvino.Model([openvino.opset13.relu(images)], [images]), tmp_path / "foreign.xml")
    for name, expected in (
        ("missing.xml", "is not a file."),
        ("text.xml", "cannot be read by OpenVINO"),
        ("model.ckpt", "cannot be read by OpenVINO"),
        ("foreign.xml", "gives no pred_label and no pred_score; export a model with a post-processor."),
    ):
        status, output, errors = run_predict(tmp_path / name, "image.png")
        assert (status, output) == (2, [])
        assert f"model: {tmp_path / name} {expected}" in errors
