# SPDX-License-Identifier: Apache-2.0
"""What single files tell, and what is wrong with them."""

import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile  # anomalib's
import torch
from anomalib.data.utils import read_image, read_mask
from PIL import ExifTags, Image

from rd_plugin.data.check import MAX_PIXELS, FileFacts, Problem, allow_pixels, inspect_file, read_file
from rd_plugin.data.check.rules import check_image, check_mask


def save(path: Path, array: np.ndarray, mode: str | None = None) -> Path:
    image = Image.fromarray(array)
    (image.convert(mode) if mode else image).save(path)
    return path


def problems(path: Path) -> list[Problem]:
    return check_image(str(path), inspect_file(path))


@pytest.mark.parametrize("mode", ["L", "RGB", "1"])
def test_plain_images_pass(tmp_path: Path, mode: str) -> None:
    path = save(tmp_path / "image.png", np.eye(8, 9, dtype=np.uint8)[..., None].repeat(3, axis=2) * 90 + 90, mode)
    facts = inspect_file(path)
    assert (facts.width, facts.height, facts.mode, facts.error) == (9, 8, mode, None)
    assert check_image(str(path), facts) == []


RGB = Image.fromarray(np.arange(8 * 9 * 3, dtype=np.uint8).reshape(8, 9, 3))
TURNED = Image.Exif()
TURNED[ExifTags.Base.Orientation] = 6


@pytest.mark.parametrize(
    ("image", "name", "arguments", "note"),
    [
        (RGB.quantize(16), "image.png", {}, "the image has a palette; its colours are used."),
        (RGB.convert("RGBA"), "image.png", {}, "the image has an alpha channel; it is ignored."),
        (RGB.convert("CMYK"), "image.jpg", {}, "the image has mode CMYK; it is converted to RGB without its colour"),
        (RGB, "image.jpg", {"exif": TURNED}, "the image is to be turned for display (EXIF orientation 6); it is read"),
        (RGB, "image.png", {"exif": TURNED}, "the image is to be turned for display (EXIF orientation 6); it is read"),
        (RGB, "image.tif", {"save_all": True, "append_images": [RGB]}, "the file holds 2 images; the first is used."),
    ],
)
def test_what_no_reader_uses_is_noted(
    tmp_path: Path, image: Image.Image, name: str, arguments: dict, note: str
) -> None:
    image.save(tmp_path / name, **arguments)
    (problem,) = problems(tmp_path / name)
    assert problem.severity == "note"
    assert problem.message.startswith(note)


def test_channels_of_16_bits_are_noted(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, np.linspace(0, 3000, 8 * 9 * 3).reshape(8, 9, 3).astype(np.uint16), photometric="rgb")
    (problem,) = problems(path)
    assert problem.message == "the image has more than 8 bits a channel; the upper 8 are used."
    assert read_image(path).max() == (3000 >> 8) / 255


def test_tiff_is_turned_by_its_reader(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    RGB.save(path, exif=TURNED)
    facts = inspect_file(path)
    assert (facts.height, facts.width, facts.orientation) == (9, 8, 1)
    assert read_image(path).shape == (9, 8, 3)


def test_damaged_exif_data_do_not_matter(tmp_path: Path) -> None:
    path = tmp_path / "image.jpg"
    RGB.save(path, exif=b"Exif\0\0" + b"no TIFF header")
    assert problems(path) == []


def _header(width: int, height: int) -> bytes:
    """A PNG file that says how large it is, and holds next to nothing."""
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(b"")))
    parts = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def test_decompression_bomb_is_a_problem_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(_header(20_000, 20_000))
    (problem,) = problems(path)
    assert problem.message.startswith("the image is too large to be read (")
    assert "400000000" in problem.message
    assert "max_pixels" in problem.message


@pytest.mark.parametrize(("limit", "refused"), [(71, True), (72, False)])
def test_limit_of_pixels_can_be_given(tmp_path: Path, limit: int, refused: bool) -> None:
    path = tmp_path / "image.png"
    RGB.save(path)
    assert inspect_file(path, max_pixels=limit).error == (
        "the image is too large to be read (9 x 8 pixels, max_pixels is 71)." if refused else None
    )


def test_larger_images_can_be_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    path = tmp_path / "image.png"
    RGB.save(path)
    allow_pixels(30)
    assert Image.MAX_IMAGE_PIXELS == 20
    allow_pixels(72)
    assert inspect_file(path, max_pixels=72).error is None
    assert read_image(path).shape == (8, 9, 3)
    with pytest.raises(ValueError, match=r"max_pixels must be at least 1, got 0\."):
        allow_pixels(0)


def test_default_limit_is_pillows() -> None:
    assert MAX_PIXELS == 2 * Image.MAX_IMAGE_PIXELS


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "image.png")
    (problem,) = problems(tmp_path / "image.png")
    assert problem.message == "it is not a file, but a device, pipe or socket."


def test_program_in_postscript_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n")
    (problem,) = problems(path)
    assert problem.message == "the file holds PostScript, a program, which is not run."


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_further_frames_are_noted(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"image.{suffix}"
    other = RGB.point(lambda value: 255 - value)
    RGB.save(path, save_all=True, append_images=[other, RGB])
    assert inspect_file(path).frames == 3
    assert [problem.severity for problem in problems(path) if "3 images; the first is used" in problem.message] == [
        "note"
    ]


@pytest.mark.parametrize(
    ("dtype", "suffix"),
    [(np.uint16, "png"), (np.uint16, "tif"), (np.int32, "tif"), (np.float32, "tif")],
)
def test_deep_images_are_refused(tmp_path: Path, dtype: type, suffix: str) -> None:
    (problem,) = problems(save(tmp_path / f"image.{suffix}", np.full((8, 9), 3000, dtype=dtype)))
    assert problem.severity == "error"
    assert "more than 8 bits a channel" in problem.message


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "the file does not exist."),
        (b"", "the file is empty."),
        (b"no picture", "the file is not an image that can be read."),
    ],
)
def test_files_that_are_no_images(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "image.png"
    if content is not None:
        path.write_bytes(content)
    assert problems(path) == [Problem(str(path), message)]


def test_folder_is_no_file(tmp_path: Path) -> None:
    assert problems(tmp_path) == [Problem(str(tmp_path), "the file cannot be read (Is a directory).")]


def test_truncated_image(tmp_path: Path) -> None:
    path = save(tmp_path / "image.png", np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8))
    path.write_bytes(path.read_bytes()[:-3000])
    (problem,) = problems(path)
    assert problem.message.startswith("the image is damaged (")


def test_content_decides_the_digest(tmp_path: Path) -> None:
    first, same = (save(tmp_path / name, np.zeros((4, 4), dtype=np.uint8)) for name in ("a.png", "b.png"))
    other = save(tmp_path / "c.png", np.ones((4, 4), dtype=np.uint8))
    assert inspect_file(first).digest == inspect_file(same).digest != inspect_file(other).digest


IMAGE = FileFacts("1", 9, 8, "RGB")


@pytest.mark.parametrize(("value", "blank"), [(0, True), (1, False), (255, False)])
@pytest.mark.parametrize("mode", ["L", "RGB", "1"])
def test_blank_masks_are_known(tmp_path: Path, mode: str, value: int, blank: bool) -> None:
    array = np.zeros((8, 8, 3), dtype=np.uint8)
    array[2, 2] = 255 if mode == "1" and value else value
    assert (inspect_file(save(tmp_path / "mask.png", array, mode)).marked == 0) == blank


DRAWN = np.zeros((8, 9), dtype=bool)
DRAWN[2:4, 3:6] = True
_EMPTY, _ALL, _ALPHA = "the mask of an anomalous image marks no pixel", "the mask marks every pixel", "alpha channel"


def _in_colour(marked: tuple[int, ...], background: tuple[int, ...]) -> Image.Image:
    return Image.fromarray(np.where(DRAWN[..., None], marked, background).astype(np.uint8))


def _palette(*colours: int) -> Image.Image:
    image = Image.fromarray(DRAWN.astype(np.uint8)).convert("P")
    image.putdata(DRAWN.astype(np.uint8).flatten())
    image.putpalette([*colours, *[0] * (768 - len(colours))])
    return image


@pytest.mark.parametrize(
    ("mask", "severity", "message"),
    [
        pytest.param(_in_colour((255,) * 4, (255, 255, 255, 0)), "error", _ALPHA, id="white, drawn in alpha"),
        pytest.param(_in_colour((0, 0, 0, 255), (0,) * 4), "error", _EMPTY, id="black, drawn in alpha"),
        pytest.param(_in_colour((255,) * 4, (0,) * 4), None, "", id="white on black, and in alpha"),
        pytest.param(_in_colour((255,) * 4, (0, 0, 0, 255)), None, "", id="alpha that hides nothing"),
        pytest.param(_in_colour((1, 0, 0), (0, 0, 0)), "error", _EMPTY, id="class index in the red channel"),
        pytest.param(_in_colour((255, 0, 0), (0, 0, 0)), None, "", id="red on black"),
        pytest.param(_in_colour((255, 0, 0), (0, 0, 255)), "note", _ALL, id="red on blue"),
        pytest.param(Image.fromarray(DRAWN.astype(np.uint8)), None, "", id="class index in grey"),
        pytest.param(_palette(0, 0, 0, 128, 0, 0), None, "", id="palette"),
        pytest.param(_palette(0, 0, 0, 0, 0, 0), "error", _EMPTY, id="palette of black alone"),
        pytest.param(_palette(0, 0, 128, 255, 0, 0), "note", _ALL, id="palette with a background in colour"),
        pytest.param(Image.new("L", (9, 8), 255), "note", _ALL, id="white"),
        pytest.param(Image.new("L", (9, 8)), "error", _EMPTY, id="black"),
        pytest.param(Image.new("RGBA", (9, 8)), "error", _EMPTY, id="nothing in any channel"),
    ],
)
def test_masks_are_checked_as_they_are_read(
    tmp_path: Path, mask: Image.Image, severity: str | None, message: str
) -> None:
    path = tmp_path / "mask.png"
    mask.save(path)
    facts = inspect_file(path)
    assert facts.marked == pytest.approx(float(torch.as_tensor(read_mask(path, as_tensor=True)).float().mean()))
    found = check_mask(str(path), facts, IMAGE)
    assert [problem.severity for problem in found] == ([] if severity is None else [severity])
    assert all(message in problem.message for problem in found)


def test_the_share_that_an_alpha_channel_hides_is_named(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    _in_colour((255,) * 4, (255, 255, 255, 0)).save(path)
    (problem,) = check_mask(str(path), inspect_file(path), IMAGE)
    assert "1.000 of the pixels are read as marked, 0.083 with it" in problem.message


@pytest.mark.parametrize(("level", "noise", "noted"), [(255, 0, True), (0, 0, True), (12, 1, True), (90, 9, False)])
def test_images_without_content_are_noted(tmp_path: Path, level: int, noise: int, noted: bool) -> None:
    grain = np.random.default_rng(0).integers(-noise, noise + 1, (32, 32, 3))
    path = save(tmp_path / "image.png", np.clip(level + grain, 0, 255).astype(np.uint8))
    assert ["no content" in problem.message for problem in problems(path)] == [True] * noted


def test_content_is_read_like_its_file(tmp_path: Path) -> None:
    Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (facts, pixels), (of_file, pixels_of_file) = read_file(content), read_file(tmp_path / "a.png")
    assert facts == of_file
    np.testing.assert_array_equal(pixels, pixels_of_file)
    assert read_file(content, 15)[0].error == "the image is too large to be read (4 x 4 pixels, max_pixels is 15)."
    for given, error in ((b"", "is empty"), (b"text", "is not an image"), (content[:50], "is damaged")):
        facts, pixels = read_file(given)
        assert error in str(facts.error)
        assert pixels is None
