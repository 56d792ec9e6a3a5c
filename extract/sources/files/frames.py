"""Multi-frame DICOM: which frames of a file are images, each a sample of its own."""

import hashlib
import threading
from dataclasses import replace
from functools import partial

import pandas as pd

from samcache.extract.images.decode import decode_image
from samcache.extract.images.dicom import frames as dicom
from samcache.extract.sources.base import Source, SourceImage
from samcache.extract.sources.files.file_source import FileSource
from samcache.extract.sources.files.listing import is_meant_as_dicom
from samcache.extract.sources.options import Frames

_ONLY = -1  # the frame of a file that holds one image


def choose_frames(files: FileSource, which: Frames) -> Source:
    """Choose the middle frame, or each frame, of every DICOM file with several, not the first.

    A frame's id has its number (from 0) behind the file's, such as ``a/cine.dcm#12``. Frames have
    their file's class and split, and its group: the file's id where it has none, so that they stay
    together. Files with one image stay as they are. What was chosen is part of the source's
    ``reading`` where some file is DICOM.
    """
    paths = files.list_paths()
    if any(map(is_meant_as_dicom, paths)):
        files.pixel_options = replace(files.pixel_options, frames=which)
    if which == "first":
        return files
    places: list[tuple[int, int]] = []  # file, frame
    for file, path in enumerate(paths):
        count = dicom.count_file_frames(path) if files.may_read(path) else 1
        if count == 1:
            places.append((file, _ONLY))
        else:
            chosen = range(count) if which == "all" else [count // 2]
            places += [(file, frame) for frame in chosen]
    table = pd.DataFrame(places, columns=["file", "frame"])
    table = table.join(files.samples, on="file")
    several = table["frame"] != _ONLY
    table.loc[several & (table["group"] == ""), "group"] = table["id"]
    table.loc[several, "id"] += "#" + table["frame"].astype(str)
    return FrameSource(files, table)


class FrameSource(Source):
    """Frames of files, beside files of one image.

    table: the columns of ``samples``, file (row in ``files``) and frame, _ONLY where it has one.
    A frame's SHA-256 is of the file's bytes, with ``#frame`` behind them for all but the first.
    """

    def __init__(self, files: FileSource, table: pd.DataFrame) -> None:
        samples = table.drop(columns=["file", "frame"])
        super().__init__(files.name, files.classes, samples, files.split_origin)
        self.passed_over, self.remarks = files.passed_over, files.remarks
        self.pixel_options = files.pixel_options
        self._files = files
        self._table = table.reset_index(drop=True)
        self._last = (-1, b"", hashlib.sha256())  # frames of a file follow each other
        self._reading = threading.Lock()

    def read_image(self, row: int) -> SourceImage:
        file, frame = (int(self._table[name].iloc[row]) for name in ("file", "frame"))
        if frame == _ONLY:
            return self._files.read_image(file)
        data, of_file = self._read(file)
        digest = of_file.copy()
        if frame:
            digest.update(f"#{frame}".encode())
        decode = partial(decode_image, data, self._files.window, frame)
        return SourceImage(digest.hexdigest(), decode)

    def take(self, rows: list[int]) -> "FrameSource":
        return FrameSource(self._files, self._table.iloc[rows])

    def _read(self, file: int) -> tuple[bytes, "hashlib._Hash"]:
        """Read a file's bytes and their hash, once for frames that follow each other."""
        with self._reading:
            if self._last[0] != file:
                self._last = (-1, b"", hashlib.sha256())  # one file's bytes at a time
                data = self._files.read(file)
                self._last = (file, data, hashlib.sha256(data))
            return self._last[1:]
