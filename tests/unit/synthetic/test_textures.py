# SPDX-License-Identifier: Apache-2.0
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from rd_plugin.synthetic.textures import Textures

from ...pictures import draw

COLOURS = {"red.png": (255, 0, 0), "a/green.PNG": (0, 255, 0), "a/b/blue.bmp": (0, 0, 255), "c/grey.png": (51, 51, 51)}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Pictures of one colour each, of different sizes, in nested folders, and a file that is none."""
    for index, (name, colour) in enumerate(COLOURS.items()):
        draw(tmp_path / "textures" / name, colour, (30, 20 + index))
    (tmp_path / "textures" / "notes.txt").write_text("no picture")
    return tmp_path / "textures"


def colours(pictures: Tensor) -> set[tuple[float, ...]]:
    """The colours of pictures that have one each."""
    assert torch.allclose(pictures, pictures[..., :1, :1].expand_as(pictures), atol=1e-4)
    return {tuple(255 * value for value in picture[:, 0, 0].double().tolist()) for picture in pictures}


def test_all_pictures_of_all_folders(root: Path) -> None:
    found = colours(Textures(root)(torch.zeros(60, 3, 24, 32)))
    assert {tuple(round(value) for value in colour) for colour in found} == set(COLOURS.values())


@pytest.mark.parametrize("size", [(24, 32), (7, 50)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_shape_and_type_are_the_images(root: Path, size: tuple[int, int], dtype: torch.dtype) -> None:
    pictures = Textures(str(root))(torch.zeros(3, 3, *size, dtype=dtype))
    assert pictures.shape == (3, 3, *size)
    assert pictures.dtype == dtype


def test_transform_comes_before_the_last_resizing(root: Path) -> None:
    seen = []

    def transform(picture: Tensor) -> Tensor:
        seen.append(tuple(picture.shape))
        return 2 * picture - 1

    pictures = Textures(root, transform)(torch.zeros(40, 3, 24, 32))
    assert pictures.shape == (40, 3, 24, 32)
    assert set(seen) == {(3, 20 + index, 30) for index in range(4)}
    assert (pictures.amin(), pictures.amax()) == (-1, 1)


def test_grey_pictures_have_three_channels(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 51, np.uint8)).save(tmp_path / "grey.png")
    pictures = Textures(tmp_path)(torch.zeros(1, 3, 8, 8))
    torch.testing.assert_close(pictures, torch.full((1, 3, 8, 8), 0.2))


def test_seed(root: Path) -> None:
    textures, images = Textures(root), torch.zeros(20, 3, 8, 8)
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append(textures(images))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


@pytest.mark.parametrize("name", ["nowhere", "empty", "file.png"])
def test_folder_without_images(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.png").touch()
    message = rf"anomaly_source '.*{name}' contains no image; expected a folder .*\.png.*null"
    with pytest.raises(ValueError, match=message):
        Textures(tmp_path / name)


@pytest.mark.parametrize("content", [b"", b"no picture", None])
def test_unreadable_picture_is_named(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "broken.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(path)
    # The third one is cut short.
    path.write_bytes(path.read_bytes()[:2000] if content is None else content)
    with pytest.raises(ValueError, match=r"anomaly_source: .*broken\.png cannot be read as an image"):
        Textures(tmp_path)(torch.zeros(1, 3, 8, 8))
