# SPDX-License-Identifier: Apache-2.0
"""The arguments that people set first, for the help of subcommands whose parsers take seconds to build.

A test compares names and defaults with the parsers.
"""

__all__ = ["FIRST_ARGUMENTS"]

# Name, placeholder of the value, and what it sets, with its default.
Argument = tuple[str, str, str]
Group = tuple[str, tuple[Argument, ...]]

_MODEL: Group = (
    "model (--model.help NAME shows all of its arguments)",
    (
        (
            "--model",
            "NAME",
            "rd_plugin.FusedReverseDistillation (start here), rd_plugin.ReverseDistillation, "
            "rd_plugin.ExpertReverseDistillation, or one of anomalib's",
        ),
        ("--model.backbone", "NAME", "teacher: a timm model (default: wide_resnet50_2.tv_in1k)"),
        ("--model.pre_trained", "WEIGHTS", "true downloads the teacher's; or a file (default: true)"),
        ("--model.image_size", "SIZE", "[HEIGHT,WIDTH] to resize to, or one number (default: 256)"),
        ("--model.tile_size", "SIZE", "cut large images into tiles of this size (default: no tiles)"),
        ("--model.deviation", "KIND", "cosine, or mahalanobis for textures"),
        (
            "--model.post_processor.false_alarm_rate",
            "RATE",
            "share of good images that may be called anomalous (default: 0.01)",
        ),
        ("--model.on_bad_data", "ACTION", "error, skip, warn or off (default: error)"),
    ),
)
_DATA: Group = (
    "data (--data.help NAME shows all of its arguments)",
    (
        ("--data", "NAME", "PartsFolder for your own images, rd_plugin.MVTec, SolarCells, or anomalib's"),
        ("--data.root", "FOLDER", "folder of images; PartsFolder: with good/, optionally defect/ and mask/"),
        ("--data.train_batch_size", "N", "images in a training batch"),
        ("--data.eval_batch_size", "N", "images in an evaluation batch"),
        ("--data.num_workers", "N", "processes that read images; 0 for none"),
    ),
)
_SEED: Argument = ("--seed_everything", "SEED", "seed of weights and splits (default: drawn and logged)")
_RESULTS: Argument = ("--default_root_dir", "FOLDER", "where results are written (default: results)")
_ACCELERATOR: Argument = ("--trainer.accelerator", "KIND", "cpu, gpu or auto (default: auto)")
_CHECKPOINT: Argument = ("--ckpt_path", "FILE", "checkpoint of the model, whose arguments are those of its training")
_TRAINING: Group = (
    "training (--help_all shows all arguments of Lightning's trainer)",
    (
        ("--trainer.max_steps", "N", "length of the training in steps (default: the method's)"),
        ("--trainer.max_epochs", "N", "length of the training in epochs (default: the method's)"),
        _ACCELERATOR,
        ("--ckpt_path", "FILE", "checkpoint of a training to resume"),
        _SEED,
        _RESULTS,
    ),
)
_EACH: Group = (
    "many products",
    (
        ("--each", "", "train a model for each folder in data.root that has good/, and write an overview page"),
        ("--resume", "", "with --each: skip folders that the same command has trained"),
        ("--engine", "NAME", "with --each: local, one after the other, or ray, in parallel (default: local)"),
        ("--threads", "N", "with --engine ray: cores of each training (default: 1)"),
    ),
)
_EVALUATION: Group = ("run", (_CHECKPOINT, _ACCELERATOR, _RESULTS))
_EXPORT: Group = (
    "export",
    (
        ("--export_type", "TYPE", "openvino, onnx or torch"),
        _CHECKPOINT,
        ("--compression_type", "TYPE", "fp16, int8, int8_ptq or int8_acq; the last two need --data (OpenVINO)"),
        ("--input_size", "SIZE", "[HEIGHT,WIDTH] of the images, if the export takes one size (default: any)"),
        ("--export_root", "FOLDER", "where the export is written (default: next to the checkpoint)"),
        ("--model_file_name", "NAME", "name without its ending (default: the checkpoint's)"),
    ),
)
_IMAGES: Group = ("data", (("--data", "PATH", "an image, a folder of images, or a data module"),))
_CALIBRATION: Group = ("data", (("--data", "NAME", "data module for the calibration of int8"),))
_CHECK: Group = ("check", (("--max_pixels", "N", "maximum number of pixels in an image"),))
_OPTION: Group = ("install", (("--option", "NAME", "full, core, dev, loggers, notebooks or openvino (default: full)"),))

#: The groups of each subcommand.
FIRST_ARGUMENTS: dict[str, tuple[Group, ...]] = {
    "train": (_MODEL, _DATA, _TRAINING, _EACH),
    "fit": (_MODEL, _DATA, _TRAINING),
    "validate": (_EVALUATION, _DATA, _MODEL),
    "test": (_EVALUATION, _DATA, _MODEL),
    "predict": (_IMAGES, _EVALUATION, _MODEL),
    "export": (_EXPORT, _CALIBRATION, _MODEL),
    "check": (_DATA, _CHECK),
    "benchmark": (),
    "install": (_OPTION,),
}
