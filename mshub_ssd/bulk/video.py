"""Videos in and out, by OpenCV."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mshub_ssd.errors import ImageError, UsageError, needing_extra
from mshub_ssd.files import NotRegularError, open_regular

if TYPE_CHECKING:
    from mshub_ssd.pictures import RGB

__all__ = ["VIDEO_SUFFIXES", "Frame", "VideoFile", "frames", "is_video"]

VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".mov", ".m4v", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv")
"""What the names of videos end with; those of the first two can be written."""

_CODECS = {".mp4": "mp4v", ".avi": "MJPG"}
# Texts that name other files for FFmpeg to open.
_PLAYLIST = re.compile(rb"\s*(#EXTM3U|ffconcat|<\?xml|\[playlist\])", re.IGNORECASE)


class Frame(NamedTuple):
    """A picture of a video.

    Attributes:
        number: Counted from 0.
        seconds: Since the beginning.
        picture: RGB uint8 [h, w, 3].
        per_second: So many frames the video has in a second.
    """

    number: int
    seconds: float
    picture: RGB
    per_second: float


def is_video(name: str) -> bool:
    """Whether a file is a video, by the end of its name."""
    return os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES  # noqa: PTH122 - not everything is a path


@needing_extra("reading a video")
def frames(name: str, skip: int = 0) -> Iterator[Frame]:
    """The frames of a video, as they are read.

    Args:
        name: The file.
        skip: So many are left out at the beginning.

    Raises:
        ImageError: It is missing, no regular file, or no video that OpenCV can read.
    """
    import cv2

    path = Path(name)
    try:
        with open_regular(path) as stream:  # FFmpeg would wait for ever for a FIFO
            head = stream.read(64) or b""
    except (OSError, ValueError) as error:
        what = "this is no file" if isinstance(error, NotRegularError) else "the video cannot be opened"
        got = getattr(error, "strerror", None) or str(error)
        raise ImageError(what, where=name, got=got, hint="check the path") from error
    # By FFmpeg where it is: the others take a % in a name for a series of files.
    capture = None if _PLAYLIST.match(head) else cv2.VideoCapture(os.path.abspath(name), cv2.CAP_FFMPEG)
    number = 0
    try:
        if capture is None or not capture.isOpened():
            raise ImageError(
                "the file is not a video OpenCV can read",
                where=name,
                got=f"a file that begins with {head[:16]!r}",
                hint="bring it to another form: ffmpeg -i VIDEO video.mp4",
            )
        rate = capture.get(cv2.CAP_PROP_FPS)
        rate = rate if 0 < rate < 1e4 else 25.0
        if not all(capture.grab() for _ in range(skip)):
            return
        number = skip
        while True:
            there, picture = capture.read()
            if not there:
                break
            seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000
            # Of the first frame it is 0 as well where the container does not tell.
            yield Frame(number, round(seconds if seconds > 0 else number / rate, 6), _rgb(picture), rate)
            number += 1
        if not number:
            raise ImageError("there is no frame in this video", where=name, hint="play it in a viewer")
    finally:
        if capture is not None:
            capture.release()


def _rgb(picture: Any) -> RGB:
    import cv2

    pixels: RGB = cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    return pixels


class VideoFile:
    """A video that is written frame by frame; a context manager.

    Args:
        path: The file, .mp4 or .avi; written under another name until it is whole.
        per_second: So many frames a second.

    Raises:
        UsageError: It cannot be written.
    """

    def __init__(self, path: Path, per_second: float) -> None:
        self._path, self._rate = path, per_second
        self._place = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
        self._writer: Any = None
        self._size: tuple[int, int] = (0, 0)

    def add(self, picture: RGB) -> None:
        """The next frame."""
        import cv2

        height, width = picture.shape[:2]
        if self._writer is None:
            # Most codecs want sides that are even.
            self._size = (width - width % 2 or width, height - height % 2 or height)
            codec = cv2.VideoWriter.fourcc(*_CODECS[self._path.suffix.lower()])
            self._writer = cv2.VideoWriter(str(self._place), codec, self._rate, self._size)
            if not self._writer.isOpened():
                raise UsageError("OpenCV cannot write this video", where=str(self._path), hint="take .avi or .mp4")
        picture = picture[: self._size[1], : self._size[0]]
        if picture.shape[1::-1] != self._size:
            picture = cv2.resize(picture, self._size)
        self._writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))

    def close(self, *, whole: bool = True) -> None:
        """Give it its name, if it is whole."""
        if self._writer is None:
            return
        self._writer.release()
        self._writer = None
        if whole:
            self._place.replace(self._path)
        else:
            self._place.unlink(missing_ok=True)
