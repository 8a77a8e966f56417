"""Whatever is a picture becomes RGB uint8, and whatever is none is refused with the way out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from mshub_ssd.errors import ImageError
from mshub_ssd.pictures import read_image


def gradient(height: int = 6, width: int = 9) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 20, y * 30, (x + y) * 10], axis=-1).astype(np.uint8)


def test_paths_pil_images_and_arrays_give_the_same_pixels(tmp_path: Path) -> None:
    rgb = gradient()
    file = tmp_path / "bild ü.png"
    Image.fromarray(rgb).save(file)
    for source in (file, str(file), Image.open(file), rgb, rgb[:, ::-1][:, ::-1]):
        got = read_image(source)
        assert got.dtype == np.uint8
        assert got.flags.c_contiguous
        assert np.array_equal(got, rgb)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_of_a_file_is_applied(orientation: int, tmp_path: Path) -> None:
    upright = gradient()
    # How a camera held that way stores the scene: the inverse of what the tag asks a reader to do.
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright, 1),
        7: np.rot90(upright.transpose(1, 0, 2), 2),
        8: np.rot90(upright, -1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / "photo.png"
    Image.fromarray(np.ascontiguousarray(stored)).save(file, exif=exif)
    assert np.array_equal(read_image(file), upright)
    assert np.array_equal(read_image(Image.open(file)), stored), "a PIL image is taken as it is"


def test_modes_of_files(tmp_path: Path) -> None:
    def read(image: Image.Image, name: str = "x.png", **options: object) -> np.ndarray:
        image.save(tmp_path / name, **options)
        return read_image(tmp_path / name)

    grey = np.arange(54, dtype=np.uint8).reshape(6, 9)
    tripled = np.stack([grey] * 3, axis=-1)
    assert np.array_equal(read(Image.fromarray(grey)), tripled)
    assert np.array_equal(read(Image.fromarray(grey.astype(np.uint16) * 257)), tripled)
    assert np.array_equal(read(Image.fromarray(grey.astype(np.int32) * 257), "x.tif"), tripled)
    assert read(Image.fromarray(np.array([[128, 129, 65535]], np.uint16)))[0, :, 0].tolist() == [0, 1, 255]
    assert np.array_equal(read(Image.fromarray(grey > 20)), np.where(tripled > 20, 255, 0))
    assert np.array_equal(read(Image.fromarray(gradient()).quantize(64)), gradient())
    alpha = np.dstack([gradient(), np.full((6, 9), 255, np.uint8)])
    alpha[0, 0, 3] = 0
    flat = gradient()
    flat[0, 0] = 255
    assert np.array_equal(read(Image.fromarray(alpha)), flat)
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([200, 10, 10, 20, 30, 40])
    assert read(palette, transparency=0).tolist() == [[[255, 255, 255], [20, 30, 40]]]
    cmyk = read(Image.new("CMYK", (4, 3), (0, 255, 255, 0)), "x.tif")
    assert cmyk.shape == (3, 4, 3)
    assert cmyk[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 1)])
def test_grey_arrays_are_tripled(shape: tuple[int, ...]) -> None:
    grey = np.arange(35, dtype=np.uint8).reshape(shape)
    assert np.array_equal(read_image(grey), np.repeat(grey.reshape(5, 7, 1), 3, axis=2))


@pytest.mark.parametrize(
    ("array", "hint"),
    [
        (np.random.default_rng(0).random((4, 4, 3)), "image * 255"),
        (np.full((4, 4, 3), 200.0), "image.round()"),
        (np.zeros((4, 4, 3), np.uint16), "// 257"),
        (np.zeros((4, 4, 3), np.int64), 'astype("uint8")'),
        (np.zeros((4, 4), bool), "* 255"),
        (np.zeros((3, 40, 40), np.uint8), "transpose(1, 2, 0)"),
        (np.zeros((4, 4, 4), np.uint8), "[:, :, :3]"),
        (np.zeros((2, 4, 4, 3), np.uint8), "image[0]"),
        (np.zeros((0, 4, 3), np.uint8), "at least one pixel"),
        (np.zeros((7,), np.uint8), "[height, width, 3]"),
        (np.array([["a"]]), "uint8"),
        (np.zeros((0, 0, 3)), "uint8"),
    ],
)
def test_unfit_arrays_are_refused_with_the_way_out(array: np.ndarray, hint: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_image(array)
    assert hint in str(caught.value)
    assert str(list(array.shape)) in str(caught.value)


@pytest.mark.parametrize("thing", [None, 5, b"\x89PNG", [[1, 2]], object()])
def test_things_that_are_no_pictures_are_refused(thing: object) -> None:
    with pytest.raises(ImageError, match="expected: a path, a PIL image, or an RGB uint8 array"):
        read_image(thing)


def test_unreadable_files_are_refused_and_named(tmp_path: Path) -> None:
    (tmp_path / "photo.jpeg").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("no picture")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (80, 80, 3), np.uint8)).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "bent.png").write_bytes(whole[:60] + b"\xff" * 40 + whole[100:])
    for name, words in [
        ("photo.jpg", "did you mean"),
        ("nowhere/x.png", "does not exist either"),
        ("notes.txt/x.png", "no such picture"),
        ("photo.jpeg", "an empty file"),
        ("notes.txt", "b'no picture'"),
        ("cut.png", "damaged"),
        ("bent.png", "damaged"),
        (".", "folder"),
    ]:
        with pytest.raises(ImageError) as caught:
            read_image(tmp_path / name)
        assert words in str(caught.value)
        assert str(tmp_path / name) in str(caught.value)
    with pytest.raises(ImageError, match="curl"):
        read_image("https://example.org/cat.jpg")


def test_damaged_exif_data_cost_the_rotation_only_and_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(image: Image.Image) -> None:
        raise SyntaxError("not a TIFF file (header b'..' not valid)")

    Image.fromarray(gradient()).save(tmp_path / "a.png")
    monkeypatch.setattr(ImageOps, "exif_transpose", fail)
    with pytest.warns(UserWarning, match=r"unreadable EXIF data in .*a\.png"):
        assert np.array_equal(read_image(tmp_path / "a.png"), gradient())


def test_decompression_bombs_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("L", (100, 100)).save(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    with pytest.raises(ImageError, match=r"bomb\.png"):
        read_image(tmp_path / "bomb.png")


def test_ambiguous_brightness_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(ImageError, match=r"f\.tif"):
        read_image(tmp_path / "f.tif")
    with pytest.raises(ImageError, match="32-bit"):
        read_image(Image.fromarray(np.full((4, 4), 70000, np.int32)))
