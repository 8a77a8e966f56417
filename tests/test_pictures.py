"""Whatever is a picture becomes RGB uint8, and whatever is none is refused with the way out."""

from __future__ import annotations

import io
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from faultserver import Fault, FaultServer
from PIL import Image, ImageOps

import mshub_ssd
from mshub_ssd import pictures
from mshub_ssd.errors import ImageError, OfflineError, TransferError
from mshub_ssd.pictures import MAX_BYTES, read_image
from mshub_ssd.store import transfer


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


@pytest.mark.parametrize("thing", [None, 5, [[1, 2]], {"image": 1}, iter([]), object()])
def test_things_that_are_no_pictures_are_refused(thing: object) -> None:
    with pytest.raises(ImageError, match="expected: a path or url, the bytes of a file, an open file, a PIL image"):
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

    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(gradient()).save(tmp_path / "a.png", exif=exif)
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


def encoded(rgb: np.ndarray, orientation: int = 1) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, "PNG", exif=exif)
    return buffer.getvalue()


def test_bytes_and_open_files_are_read_as_files_are(tmp_path: Path) -> None:
    data = encoded(np.ascontiguousarray(gradient()[::-1, ::-1]), orientation=3)
    (tmp_path / "a.png").write_bytes(data)
    written = io.BytesIO()
    written.write(data)  # which leaves its position behind the picture
    with (tmp_path / "a.png").open("rb") as file, zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a.png", data)
        with archive.open("a.png") as member:
            for source in (data, bytearray(data), memoryview(data), io.BytesIO(data), written, file, member):
                assert np.array_equal(read_image(source), gradient())
        assert not file.closed
    assert np.array_equal(read_image(memoryview(gradient())), gradient()), "a view of pixels"


class Endless(io.RawIOBase):
    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        assert 0 < size <= MAX_BYTES + 1
        return bytes(size)


def test_bytes_and_streams_of_something_else_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded(gradient()))
    closed = io.BytesIO()
    closed.close()
    with (tmp_path / "a.png").open(encoding="latin-1") as text:
        for source, words in [
            (b"photo.jpg", "bytes that begin with b'photo.jpg'"),
            (b"", "no bytes at all"),
            (encoded(gradient())[:60], "damaged"),
            (io.StringIO("photo"), 'open(path, "rb")'),
            (text, str(tmp_path / "a.png")),
            (closed, "closed"),
            (Endless(), "64 MiB"),
            (os.fsencode(tmp_path / "a.png"), "bytes that begin with"),
        ]:
            with pytest.raises(ImageError) as caught:
                read_image(source)
            assert words in str(caught.value)


class Tensor:
    """A tensor as PyTorch has them: on a device, with a gradient, and of types that NumPy may not know."""

    def __init__(self, array: np.ndarray, todo: tuple[str, ...] = ("detach", "cpu")) -> None:
        self._array, self._todo = array, todo
        self.shape = array.shape

    def detach(self) -> Tensor:
        return Tensor(self._array, tuple(step for step in self._todo if step != "detach"))

    def cpu(self) -> Tensor:
        return Tensor(self._array, tuple(step for step in self._todo if step != "cpu"))

    def numpy(self) -> np.ndarray:
        if self._todo:
            raise RuntimeError(f"call {self._todo[0]}() first")
        if self._array.dtype == np.float16:
            raise TypeError("Got unsupported ScalarType BFloat16")
        return self._array


def test_tensors_are_arrays() -> None:
    assert np.array_equal(read_image(Tensor(gradient())), gradient())
    assert np.array_equal(read_image(Tensor(gradient()[:, :, 0])), np.repeat(gradient()[:, :, :1], 3, axis=2))
    for array, words in [
        (gradient().transpose(2, 0, 1), "image = image.numpy(); move the channels"),
        (gradient() / 255, "(image * 255)"),
        (gradient().astype(np.float16), "BFloat16"),
    ]:
        with pytest.raises(ImageError) as caught:
            read_image(Tensor(array))
        assert words in str(caught.value)


def test_mindspores_tensors_are_arrays() -> None:
    mindspore = pytest.importorskip("mindspore")
    assert np.array_equal(read_image(mindspore.Tensor(gradient())), gradient())
    with pytest.raises(ImageError, match=r"image\.asnumpy\(\); for values of 0\.\.1"):
        read_image(mindspore.Tensor(gradient() / np.float32(255)))
    stack = pictures.several(mindspore.Tensor(np.stack([gradient(), gradient()])))
    assert stack is not None
    assert [read_image(one).tolist() for one in stack] == [gradient().tolist()] * 2


def test_lists_and_stacks_are_several_pictures() -> None:
    stack = np.stack([gradient(), 255 - gradient(), gradient()])
    for given in (list(stack), tuple(stack), stack, Tensor(stack)):
        found = pictures.several(given)
        assert found is not None
        assert np.array_equal(np.stack([read_image(one) for one in found]), stack)
    for given in (gradient(), gradient()[:, :, 0], "a.png", b"", None, io.BytesIO(), Tensor(gradient()), {}, Tensor):
        assert pictures.several(given) is None
    assert pictures.several([]) == []


@pytest.mark.parametrize(
    ("thing", "hint"),
    [
        (None, "cv2.imread"),
        ({"image": 1}, "row['image']"),
        ([gradient()], "flat list"),
        (iter([gradient()]), "list(images)"),
        (3.5, "np.asarray(image)"),
    ],
)
def test_what_is_no_picture_is_refused_with_the_way_out(thing: object, hint: str) -> None:
    with pytest.raises(ImageError) as caught:
        read_image(thing)
    assert hint in caught.value.hint


def test_a_hub_reads_urls_under_its_settings(fault_server: FaultServer, tmp_path: Path) -> None:
    url = fault_server.add("/a.png", encoded(gradient()), Fault(status=503), Fault(cut_after=40))
    hub = mshub_ssd.Hub(home=tmp_path / "home")
    with transfer.override_policy(backoff=0.001, longest_wait=0.004):
        assert np.array_equal(hub.read_image(url), gradient())
        assert np.array_equal(hub.read_image(url.replace("http", "HTTP", 1)), gradient())
    assert not (tmp_path / "home").exists(), "a picture is no checkpoint"
    with pytest.raises(OfflineError):
        mshub_ssd.Hub(offline=True).read_image(url)
    large = fault_server.add("/large.png", b"", Fault(infinite=True))
    lying = fault_server.add("/lying.png", b"", Fault(headers={"Content-Length": str(MAX_BYTES + 1)}))
    away = fault_server.add("/away", b"", Fault(redirect="file:///etc/passwd"))
    for refused in (large, lying, away):
        with pytest.raises(TransferError):
            hub.read_image(refused)
    with pytest.raises(ImageError, match=r"/page.*\n.*\n.*<!DOCTYPE"):
        hub.read_image(fault_server.add("/page", b"<!DOCTYPE html>"))


def test_a_url_needs_somebody_who_downloads() -> None:
    with pytest.raises(ImageError, match="curl"):
        read_image("HTTPS://example.org/cat.jpg")


def test_folders_and_patterns_stand_for_their_pictures(tmp_path: Path) -> None:
    for name in ("b10.PNG", "b9.png", "a.txt", ".c.png", "[x].png", "below/d.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "folder.png").mkdir()
    at = str(tmp_path)
    assert [str(name)[len(at) + 1 :] for name in pictures.find(at)] == ["[x].png", "b9.png", "b10.PNG", "below/d.webp"]
    assert list(pictures.find(f"{at}/[x].png")) == [f"{at}/[x].png"]
    assert list(pictures.find(f"{at}/b*")) == [f"{at}/b9.png", f"{at}/b10.PNG"], "files only"
    assert list(pictures.find(f"{at}/**/*.webp")) == [f"{at}/below/d.webp"]
    for same in ("nothing.png", "http://x.example/?*", "n" * 300, "nul\0*", "a*b\0"):
        assert list(pictures.find(same)) == [same]
    for nothing in (f"{at}/folder.png", f"{at}/*.jpg", "n" * 300 + "*"):
        with pytest.raises(ImageError) as caught:
            list(pictures.find(nothing))
        assert caught.value.where == nothing
