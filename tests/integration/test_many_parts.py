# SPDX-License-Identifier: Apache-2.0
"""One model for several parts: thresholds, metrics and references of each."""

import json
import logging
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from anomalib.data import ImageBatch
from anomalib.data.utils import read_image
from anomalib.deploy import CompressionType
from lightning.pytorch.trainer.states import TrainerFn

from rd_plugin import FusedReverseDistillation, Inspector, PartsFolder, ReverseDistillation
from rd_plugin.data import part_recognition
from rd_plugin.data.part_names import part_of
from rd_plugin.export import mixin
from rd_plugin.models.distillation import Distillation
from rd_plugin.models.fused_reverse_distillation.evidence import EVIDENCE
from rd_plugin.provenance import RECORD_KEY

from ..unit.commands.conftest import Tool, log_level_as_before, tool
from .conftest import PARTS, SIZE, cpu_engine, run_cli, run_openvino

__all__ = ["log_level_as_before", "tool"]

TORCH_OR_ONNX = pytest.mark.parametrize(
    ("kind", "suffix"), [("torch", "pt"), pytest.param("onnx", "onnx", marks=pytest.mark.slow)]
)


@dataclass(frozen=True)
class ManyParts:
    """A run on two parts."""

    root: Path
    folder: Path
    checkpoint: Path
    metrics: dict[str, float]
    output: str


def data(root: Path) -> PartsFolder:
    """The data module of a folder."""
    return PartsFolder(root, num_workers=0, train_batch_size=4)


def model(method: type[Distillation] = ReverseDistillation, **arguments: object) -> Distillation:
    """A small model."""
    torch.manual_seed(0)
    return method(backbone="test_resnet", layers=["layer1"], pre_trained=False, image_size=SIZE, **arguments)


def read_images(root: Path, folders: str) -> torch.Tensor:
    """Images of shape (N, 3, H, W) within some folders."""
    return torch.stack([read_image(path, as_tensor=True) for path in sorted(root.glob(f"{folders}/*/*.png"))])


@pytest.fixture(scope="session")
def many(parts_root: Path, tmp_path_factory: pytest.TempPathFactory) -> ManyParts:
    """A model of both parts, trained for a few steps."""
    folder = tmp_path_factory.mktemp("many")
    with pytest.MonkeyPatch.context() as patch:
        output: list[str] = []
        patch.setattr("sys.stdout.write", output.append)
        (metrics,) = cpu_engine(folder, max_steps=6).train(model=model(), datamodule=data(parts_root))
    (checkpoint,) = folder.glob("ReverseDistillation/*/v0/weights/lightning/*.ckpt")
    return ManyParts(parts_root, folder, checkpoint, metrics, "".join(output))


def test_each_part_has_its_own_threshold_and_range(many: ManyParts) -> None:
    found = ReverseDistillation.load_from_checkpoint(many.checkpoint)
    post_processor = found.post_processor
    assert post_processor.parts == PARTS
    assert post_processor.image_threshold.isnan()
    # As if each had been validated alone.
    for part in PARTS:
        alone = ReverseDistillation.load_from_checkpoint(many.checkpoint)
        alone.post_processor.set_parts(())
        cpu_engine(many.folder / part).validate(alone, datamodule=PartsFolder(many.root / part, num_workers=0))
        own, expected = post_processor.of(part), alone.post_processor
        for name in ("image_threshold", "pixel_threshold", "image_min", "image_max", "pixel_min", "pixel_max"):
            torch.testing.assert_close(getattr(own, name), getattr(expected, name), rtol=1e-5, atol=1e-6)
    assert post_processor.of("plate").image_threshold != post_processor.of("tile").image_threshold
    with pytest.raises(ValueError, match="part must be one of plate, tile, got 'disc'"):
        post_processor.of("disc")


def test_metrics_are_those_of_each_part_and_their_mean(many: ManyParts) -> None:
    for name in ("image_AUROC", "image_F1Score", "pixel_AUROC", "pixel_AUPRO"):
        assert many.metrics[name] == pytest.approx(np.mean([many.metrics[f"{name}/{part}"] for part in PARTS]))
    found = ReverseDistillation.load_from_checkpoint(many.checkpoint, visualizer=False)
    found.post_processor.set_parts(())
    single = PartsFolder(many.root / "tile", num_workers=0)
    (alone,) = cpu_engine(many.folder / "alone").test(found, datamodule=single)
    assert alone["image_AUROC"] == pytest.approx(many.metrics["image_AUROC/tile"], abs=1e-6)
    assert alone["pixel_AUPRO"] == pytest.approx(many.metrics["pixel_AUPRO/tile"], abs=1e-5)


def test_last_lines_have_a_row_for_each_part(many: ManyParts) -> None:
    lines = [line.split() for line in many.output.splitlines()]
    assert ["part", "threshold", "of", "100", "new", "normal", "images", "false", "alarms", "defects", "found"] in lines
    for part in (*PARTS, "all"):
        assert any(line and line[0] == part for line in lines)
    assert f"{many.metrics['image_AUROC']:.4f}, mean of 2 parts" in many.output
    assert [
        "tile",
        *(
            f"{many.metrics[f'{name}/tile']:.4f}"
            for name in ("image_AUROC", "image_F1Score", "pixel_AUROC", "pixel_F1Score", "pixel_AUPRO")
        ),
    ] in lines
    assert "for 1 % false alarms" not in many.output


def test_each_part_has_its_own_reference(many: ManyParts) -> None:
    record = ReverseDistillation.load_from_checkpoint(many.checkpoint).describe()
    assert record.reference == {}
    assert tuple(record.parts) == PARTS
    assert record.parts["plate"]["reference"] != record.parts["tile"]["reference"]
    alone = record.of_part("tile")
    assert (alone.part, alone.parts, alone.reference) == ("tile", {}, record.parts["tile"]["reference"])
    assert len(alone.reference["images"]) == 5
    assert len(alone.reference["scores"].split()) == 8


def test_the_part_is_given_in_the_call(many: ManyParts) -> None:
    found = ReverseDistillation.load_from_checkpoint(many.checkpoint).eval()
    image = read_images(many.root, "tile/defect")
    with torch.no_grad():
        scores = {part: found(image, part=part).pred_score for part in PARTS}
        assert (scores["tile"] != scores["plate"]).all()
        with pytest.raises(ValueError, match="is for several parts: give part, one of plate, tile"):
            found(image)
        found.post_processor.set_parts(())
        with pytest.raises(ValueError, match="part 'tile': the model is not for several parts"):
            found(image, part="tile")


def scores(model: Path, images: Path, **arguments: object) -> np.ndarray:
    """Scores of images in a folder."""
    return np.array([result.score for result in Inspector(model, **arguments)([images])])


# The graph of one part is compared below.
@pytest.mark.parametrize(
    ("kind", "name"), [("torch", "model.pt"), pytest.param("openvino", "model.xml", marks=pytest.mark.slow)]
)
def test_an_export_of_each_part_agrees_with_the_engine(
    many: ManyParts, kind: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUST_REMOTE_CODE", "1")
    run = many.checkpoint.parents[2]
    run_cli(many.folder, "export", "--export_type", kind, "--ckpt_path", many.checkpoint, program="rd-plugin")
    found = ReverseDistillation.load_from_checkpoint(many.checkpoint, visualizer=False)
    batches = cpu_engine(many.folder / "predict").predict(found, data_path=many.root)
    expected = {
        path: float(score)
        for batch in batches
        for path, score in zip(batch.image_path, batch.pred_score.flatten(), strict=True)
    }
    for part in PARTS:
        export = run / part / "weights" / kind / name
        inspector = Inspector(export)
        results = list(inspector([many.root / part / "defect", many.root / part / "good"]))
        assert len(results) == 20
        for result in results:
            assert result.score == pytest.approx(expected[result.path], rel=1e-4, abs=1e-5)
        assert inspector.inferencer.record["part"] == part
        assert inspector.inferencer.record_id == Inspector(many.checkpoint, part=part).inferencer.record_id
        assert len(inspector.inferencer.reference.statistics) == 5
    # An ordinary export for one part.
    with pytest.raises(ValueError, match="part must be one of plate, got 'tile'"):
        Inspector(run / "plate/weights" / kind / name, part="tile")


@pytest.fixture(scope="session")
def loaded(many: ManyParts) -> Distillation:
    """The model of both parts, whose exports are of one."""
    found = ReverseDistillation.load_from_checkpoint(many.checkpoint, visualizer=False).eval()
    found.exported_part = "tile"
    return found


@pytest.fixture(scope="session")
def tile_export(loaded: Distillation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The export of one part."""
    folder = tmp_path_factory.mktemp("tile")
    loaded.to_openvino(folder)
    (path,) = folder.rglob("*.xml")
    return path


@pytest.mark.parametrize("factor", [pytest.param(factor, marks=pytest.mark.slow) for factor in (0.5, 1, 2)] + [4])
def test_an_export_of_one_part_agrees_with_the_engine_at_every_size(
    loaded: Distillation, tile_export: Path, factor: float
) -> None:
    side = int(SIZE * factor)
    images = torch.rand(3, 3, side, side, generator=torch.Generator().manual_seed(0))
    # It has no score, and is anomalous.
    images[1, 0, 0, 0] = torch.nan
    with torch.no_grad():
        expected = loaded(images, part="tile")
    assert expected.pred_score.isnan().flatten().tolist() == [False, True, False]
    # All at once, and one alone.
    for chosen in (slice(None), slice(1)):
        actual = run_openvino(tile_export, images[chosen].numpy())
        np.testing.assert_allclose(actual["pred_score"].ravel(), expected.pred_score.ravel()[chosen], atol=1e-3)
        np.testing.assert_allclose(actual["anomaly_map"], expected.anomaly_map[chosen], atol=5e-3)
    assert run_openvino(tile_export, images.numpy())["pred_label"].ravel()[1]


@pytest.mark.slow
def test_int8_of_one_part(loaded: Distillation, many: ManyParts, tmp_path: Path) -> None:
    loaded.to_openvino(tmp_path, compression_type=CompressionType.INT8_PTQ, datamodule=data(many.root))
    (path,) = tmp_path.rglob("*.xml")
    images = read_images(many.root, "tile/*")
    with torch.no_grad():
        expected = loaded(images, part="tile").anomaly_map.numpy()
    actual = run_openvino(path, images.numpy())["anomaly_map"]
    assert np.corrcoef(actual.ravel(), expected.ravel())[0, 1] > 0.9


@TORCH_OR_ONNX
def test_one_part_is_exported(
    many: ManyParts, tmp_path: Path, tool: Tool, kind: str, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRUST_REMOTE_CODE", "1")
    arguments = ("export", "--export_type", kind, "--ckpt_path", many.checkpoint, "--export_root", tmp_path)
    assert tool(*arguments, "--part", "tile").status == 0
    assert [path.name for path in tmp_path.iterdir()] == ["tile"]
    (export,) = tmp_path.rglob(f"*.{suffix}")
    images = many.root / "tile/defect"
    np.testing.assert_allclose(scores(export, images), scores(many.checkpoint, images, part="tile"), atol=1e-5)
    assert "part must be one of plate, tile, got 'disc'" in tool(*arguments, "--part", "disc").errors


def test_the_path_says_the_part(many: ManyParts, tmp_path: Path, tool: Tool) -> None:
    other = tmp_path / "other.png"
    shutil.copy(next(many.root.glob("tile/good/*/*.png")), other)
    paths = [many.root / part / "defect" for part in PARTS]
    status, _, errors = tool("inspect", many.checkpoint, *paths, "--csv", tmp_path / "all.csv")
    assert status == 0
    assert "plate: Drift" in errors
    assert "tile: Drift" in errors
    rows = [line.split(",") for line in (tmp_path / "all.csv").read_text().splitlines()[1:]]
    assert [Path(row[0]).parents[2].name for row in rows] == ["plate"] * 4 + ["tile"] * 4
    expected = [*scores(many.checkpoint, paths[0], part="plate"), *scores(many.checkpoint, paths[1], part="tile")]
    np.testing.assert_allclose([float(row[2]) for row in rows], expected, atol=1e-5)
    assert tool("inspect", many.checkpoint, other, "--part", "tile").status == 0
    refused = tool("inspect", many.checkpoint, other, "--part", "disc")
    assert "part must be one of plate, tile, got 'disc'" in refused.errors
    with pytest.raises(ValueError, match="the model is for several parts: give part, one of plate, tile"):
        Inspector(many.checkpoint)


def test_a_part_that_the_path_does_not_say_is_recognized(
    many: ManyParts, tmp_path: Path, tool: Tool, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "new"
    folder.mkdir()
    for part in PARTS:
        shutil.copy(next(many.root.glob(f"{part}/defect/*/*.png")), folder / f"{part}.png")
    (folder / "broken.png").write_bytes(b"no image")
    ended = tool("inspect", many.checkpoint, folder, "--jsonl", tmp_path / "found.jsonl")
    assert ended.status == 1
    found = {
        Path(row["path"]).stem: row for row in map(json.loads, (tmp_path / "found.jsonl").read_text().splitlines())
    }
    for part in PARTS:
        assert found[part]["product"] == part
        (expected,) = scores(many.checkpoint, folder / f"{part}.png", part=part)
        assert found[part]["score"] == pytest.approx(expected, abs=1e-5)
    assert found["broken"]["verdict"] == "error"
    with monkeypatch.context() as patch:
        patch.setattr(part_recognition, "_EQUALLY_NEAR", 1e6)
        ended = tool("inspect", many.checkpoint, folder / "tile.png")
    assert ended.status == 1
    assert "and it may show tile or plate, which are about equally near." in ended.output + ended.errors
    # A record of an earlier version has no features.
    content = torch.load(many.checkpoint, weights_only=False)
    for known in content[RECORD_KEY]["parts"].values():
        del known["features"]
    torch.save(content, tmp_path / "old.ckpt")
    ended = tool("inspect", tmp_path / "old.ckpt", folder / "tile.png")
    assert ended.status == 1
    assert "no folder in its path is named after a part (plate, tile)." in ended.output + ended.errors


def test_a_new_threshold_for_one_part(many: ManyParts, tmp_path: Path, tool: Tool) -> None:
    new, good = tmp_path / "new.ckpt", many.root / "tile/good"
    arguments = ("threshold", many.checkpoint, "--good", good, "--rate", 0.2, "--output", new)
    assert tool(*arguments, "--part", "tile").status == 0
    assert sum(result.verdict == "anomalous" for result in Inspector(new, part="tile")([good])) == 2
    plate = many.root / "plate/good"
    np.testing.assert_array_equal(scores(new, plate, part="plate"), scores(many.checkpoint, plate, part="plate"))
    record = Inspector(new, part="tile").inferencer.record
    assert [entry["part"] for entry in record["thresholds"]] == ["tile"]
    assert "the model is for several parts: give part" in tool(*arguments[:-1], tmp_path / "other.ckpt").errors


def test_resuming_keeps_the_thresholds(many: ManyParts, tmp_path: Path) -> None:
    before = ReverseDistillation.load_from_checkpoint(many.checkpoint).post_processor
    resumed = model()
    cpu_engine(tmp_path, max_steps=6).fit(resumed, datamodule=data(many.root), ckpt_path=many.checkpoint)
    for part in PARTS:
        assert resumed.post_processor.of(part).scale() == before.of(part).scale()


class TestStatisticsOfEachPart:
    @pytest.fixture(scope="class")
    def trained(self, parts_root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Distillation, Path]:
        folder = tmp_path_factory.mktemp("fused")
        fused = model(FusedReverseDistillation, brightness=0)
        cpu_engine(folder, max_steps=3).fit(fused, datamodule=data(parts_root))
        (checkpoint,) = folder.glob("FusedReverseDistillation/*/v0/weights/lightning/*.ckpt")
        return fused.eval(), checkpoint

    @TORCH_OR_ONNX
    def test_a_checkpoint_and_an_export_keep_them(
        self,
        trained: tuple[Distillation, Path],
        parts_root: Path,
        tmp_path: Path,
        kind: str,
        suffix: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("TRUST_REMOTE_CODE", "1")
        fused, checkpoint = trained
        assert tuple(fused.learned_settings()) == PARTS
        assert not fused.model.evidence.is_fitted
        loaded = FusedReverseDistillation.load_from_checkpoint(checkpoint, visualizer=False).eval()
        loaded.exported_part = "tile"
        getattr(loaded, f"to_{kind}")(tmp_path)
        inspector = Inspector(next(tmp_path.rglob(f"*.{suffix}")))
        images = read_images(parts_root, "tile/defect")
        with torch.no_grad():
            expected = fused(images, part="tile")
            torch.testing.assert_close(loaded(images, part="tile").pred_score, expected.pred_score)
        found = [inspector.predict((image.permute(1, 2, 0) * 255).round().byte().numpy()).score for image in images]
        np.testing.assert_allclose(found, expected.pred_score.flatten(), rtol=1e-4, atol=1e-5)

    def test_a_mixed_batch_gets_those_of_each_image(self, trained: tuple[Distillation, Path], parts_root: Path) -> None:
        fused, _ = trained
        images = {part: read_images(parts_root, f"{part}/defect")[:2] for part in PARTS}
        mixed = torch.stack([images["tile"][0], images["plate"][0], images["tile"][1], images["plate"][1]])
        paths = ["tile/a.png", "plate/a.png", "tile/b.png", "plate/b.png"]
        with torch.no_grad():
            batch = fused.validation_step(ImageBatch(image=fused.pre_processor(mixed), image_path=paths))
            for index, part in ((0, "tile"), (1, "plate"), (2, "tile"), (3, "plate")):
                with fused.model.as_part(part):
                    alone = fused.model(fused.pre_processor(mixed[index : index + 1]))
                torch.testing.assert_close(batch.pred_score[index], alone.pred_score[0], rtol=1e-4, atol=1e-5)
                torch.testing.assert_close(batch.anomaly_map[index], alone.anomaly_map[0, 0], rtol=1e-3, atol=1e-4)

    def test_tests_and_predictions_have_those_of_each_image(
        self, trained: tuple[Distillation, Path], parts_root: Path, tmp_path: Path
    ) -> None:
        fused, checkpoint = trained
        again = FusedReverseDistillation.load_from_checkpoint(checkpoint, visualizer=False)
        found = {}
        for batch in cpu_engine(tmp_path).predict(again, datamodule=data(parts_root)) or []:
            found.update(zip(batch.image_path, batch.pred_score, strict=True))
        for part in PARTS:
            path = next(path for path in found if part_of(path, PARTS) == part)
            with torch.no_grad():
                alone = fused(read_image(path, as_tensor=True)[None], part=part)
            torch.testing.assert_close(found[path], alone.pred_score[0], rtol=1e-3, atol=1e-4)
        assert cpu_engine(tmp_path).test(again, datamodule=data(parts_root), verbose=False)

    @pytest.mark.slow
    def test_int8_is_calibrated_on_images_of_its_part(
        self, trained: tuple[Distillation, Path], parts_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        loaded = FusedReverseDistillation.load_from_checkpoint(trained[1], visualizer=False).eval()
        loaded.exported_part = "tile"
        seen = []

        def quantize(exported: object, datamodule: PartsFolder) -> object:
            # As the calibration does.
            datamodule.setup("fit")
            seen.append([list(split.samples["image_path"]) for split in (datamodule.train_data, datamodule.val_data)])
            return exported

        monkeypatch.setattr(mixin, "quantize", quantize)
        int8 = {"compression_type": CompressionType.INT8_PTQ}
        several, alone = data(parts_root), data(parts_root / "tile")
        for given in (several, alone):
            loaded.to_openvino(tmp_path / given.root.name, datamodule=given, **int8)
        # Its statistics are computed again in 8 bits: of the same images as in the training.
        assert seen[0] == seen[1]
        assert seen[0][0] == list(alone.train_data.samples["image_path"])
        assert set(several.train_data.samples["part"]) == set(PARTS)
        with pytest.raises(ValueError, match="data: there is no training image of part 'tile'"):
            loaded.to_openvino(tmp_path, datamodule=data(parts_root / "plate"), **int8)

    def test_commands_take_the_model(
        self, trained: tuple[Distillation, Path], parts_root: Path, tmp_path: Path, tool: Tool
    ) -> None:
        _, checkpoint = trained
        unnamed = tmp_path / "unnamed.png"
        shutil.copy(next(parts_root.glob("plate/defect/*/*.png")), unnamed)
        paths = [parts_root / part / "defect" for part in PARTS]
        status, _, errors = tool("inspect", checkpoint, *paths, unnamed, "--jsonl", tmp_path / "found.jsonl")
        assert status == 0
        assert "plate: Drift" in errors
        rows = [json.loads(line) for line in (tmp_path / "found.jsonl").read_text().splitlines()]
        assert [row["product"] for row in rows] == ["plate"] * 4 + ["tile"] * 4 + ["plate"]
        expected = [*scores(checkpoint, paths[0], part="plate"), *scores(checkpoint, paths[1], part="tile")]
        np.testing.assert_allclose([row["score"] for row in rows[:8]], expected, atol=1e-5)

        new, good = tmp_path / "new.ckpt", parts_root / "tile/good"
        arguments = ("--good", good, "--rate", 0.2, "--part", "tile", "--output", new)
        assert tool("threshold", checkpoint, *arguments).status == 0
        assert sum(result.verdict == "anomalous" for result in Inspector(new, part="tile")([good])) == 2
        np.testing.assert_array_equal(scores(new, paths[0], part="plate"), expected[:4])

        ended = tool("update", checkpoint, "--good", good, "--output", tmp_path / "updated.ckpt")
        assert ended.status != 0
        assert "is for several parts, whose statistics cannot be updated: train it again." in ended.errors

    def test_a_resumed_training_keeps_those_of_its_checkpoint(
        self, trained: tuple[Distillation, Path], parts_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        _, own = trained
        cpu_engine(tmp_path / "shared", max_steps=3).fit(
            model(FusedReverseDistillation, statistics="shared", brightness=0), datamodule=data(parts_root)
        )
        (shared,) = tmp_path.rglob("model.ckpt")
        assert not any(".of_parts." in name for name in torch.load(shared, weights_only=False)["state_dict"])
        assert "Statistics stay" not in caplog.text
        for checkpoint, given, parts in ((own, "shared", PARTS), (shared, "per_part", ())):
            before = FusedReverseDistillation.load_from_checkpoint(checkpoint).model
            assert before.parts == parts
            resumed = model(FusedReverseDistillation, statistics=given, brightness=0)
            # It has made all its steps.
            cpu_engine(tmp_path, max_steps=3).fit(resumed, datamodule=data(parts_root), ckpt_path=checkpoint)
            assert resumed.model.parts == parts
            found = resumed.model.state_dict()
            assert all(torch.equal(value, found[name]) for name, value in before.state_dict().items())
        assert "Statistics stay of each part, as in the checkpoint." in caplog.messages
        assert "Statistics stay shared by all parts, as in the checkpoint." in caplog.messages
        # With more steps they are computed again.
        resumed = model(FusedReverseDistillation, brightness=0)
        cpu_engine(tmp_path, max_steps=4).fit(resumed, datamodule=data(parts_root), ckpt_path=own)
        assert tuple(resumed.learned_settings()) == resumed.model.parts == PARTS
        before = FusedReverseDistillation.load_from_checkpoint(own).model
        for part in PARTS:
            with resumed.model.as_part(part), before.as_part(part):
                assert not torch.equal(resumed.model.evidence.residual.mean, before.evidence.residual.mean)

    def test_of_one_part_a_checkpoint_is_as_before(self, parts_root: Path, tmp_path: Path) -> None:
        names = []
        for statistics in ("per_part", "shared"):
            fused = model(FusedReverseDistillation, statistics=statistics, brightness=0)
            cpu_engine(tmp_path / statistics, max_steps=1).fit(fused, datamodule=data(parts_root / "tile"))
            (checkpoint,) = (tmp_path / statistics).rglob("model.ckpt")
            names.append(list(torch.load(checkpoint, weights_only=False)["state_dict"]))
        assert names[0] == names[1]
        assert not any("of_parts" in name for name in names[0])

    def test_a_part_of_few_images(self, parts_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        root = tmp_path / "few"
        shutil.copytree(parts_root, root)
        shutil.copytree(root / "tile", root / "disc")
        # Five to train on, of which one is held out, and one.
        for part, count in (("plate", 9), ("tile", 4)):
            for image in sorted(root.glob(f"{part}/good/*/*.png"))[count:]:
                image.unlink()
        fused = model(FusedReverseDistillation, brightness=0)
        few = PartsFolder(root, num_workers=0, train_batch_size=4, val_split_ratio=0.2)
        # As if all images of the third were damaged, and left out.
        few.setup(TrainerFn.FITTING)
        few.train_data = few.train_data.subsample((few.train_data.samples["part"] != "disc").to_numpy().nonzero()[0])
        cpu_engine(tmp_path, max_steps=2).fit(fused, datamodule=few)
        assert few.train_data.samples["part"].value_counts().to_dict() == {"plate": 5, "tile": 1}
        assert "disc has no training image: its map is that of the cosine, without statistics." in caplog.messages
        assert all(value.isfinite().all() for value in fused.model.state_dict().values())
        learned = fused.learned_settings()
        for part in ("disc", *PARTS):
            with torch.no_grad():
                assert fused.eval()(read_images(root, f"{part}/defect"), part=part).pred_score.isfinite().all()
        # Without a held-out image nothing is earned.
        assert learned["tile"]["weights"] == pytest.approx(EVIDENCE, abs=1e-3)
        assert {value for kind in learned["tile"]["shrinkage"].values() for value in kind.values()} == {0}
        assert learned["plate"]["weights"] != pytest.approx(EVIDENCE, abs=1e-3)

    def test_too_many_for_the_memory_are_shared(
        self, parts_root: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        root = tmp_path / "uneven"
        shutil.copytree(parts_root, root)
        for image in sorted(root.glob("plate/good/*/*.png"))[5:]:
            image.unlink()
        fused = model(FusedReverseDistillation, statistics_bytes=1000, brightness=0)
        cpu_engine(tmp_path, max_steps=1).fit(fused, datamodule=data(root))
        assert fused.model.evidence.is_fitted
        assert fused.model.parts == ()
        (warning,) = [text for text in caplog.messages if text.startswith("statistics_bytes")]
        before, _, needed = warning.removesuffix(" or more.").rpartition(" ")
        assert before == (
            f"statistics_bytes 1000 is less than the {needed} bytes that statistics of each of 2 parts take, so all "
            "parts share statistics, which costs accuracy: set model.statistics_bytes to"
        )
        fused = model(FusedReverseDistillation, statistics_bytes=int(needed), brightness=0)
        cpu_engine(tmp_path, max_steps=1).fit(fused, datamodule=data(root))
        assert fused.model.parts == PARTS
        taken = [sum(buffer.nbytes for buffer in evidence.buffers()) for evidence, _ in fused.model.of_parts]
        assert sum(taken) <= int(needed) == 2 * max(taken)
