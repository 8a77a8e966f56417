"""Pictures in plenty: what names mean, looked at one after the other, and results, drawings and videos in files.

- `sources`: files, folders, patterns, urls, lists and videos as one stream of pictures.
- `writing`: rows as JSON lines, JSON, COCO results, a table or a Parquet file.
- `journal`: a run that was killed at any moment goes on where it was.
- `parts`: the same in object stores.
- `drawing`: drawings in a folder, drawn videos.
- `running`: all of it together.
"""

from __future__ import annotations

from mshub_ssd.bulk.drawing import Drawings
from mshub_ssd.bulk.journal import Journal
from mshub_ssd.bulk.parts import Parts
from mshub_ssd.bulk.running import Looked, keep_freed_memory, look, write_rows
from mshub_ssd.bulk.sources import Input, Item, Sources, stands_for_itself
from mshub_ssd.bulk.video import Frame, VideoFile, frames, is_video
from mshub_ssd.bulk.writing import FORMATS, Writer, check_parquet, format_of, new_writer, table_of

__all__ = [
    "FORMATS",
    "Drawings",
    "Frame",
    "Input",
    "Item",
    "Journal",
    "Looked",
    "Parts",
    "Sources",
    "VideoFile",
    "Writer",
    "check_parquet",
    "format_of",
    "frames",
    "is_video",
    "keep_freed_memory",
    "look",
    "new_writer",
    "stands_for_itself",
    "table_of",
    "write_rows",
]
