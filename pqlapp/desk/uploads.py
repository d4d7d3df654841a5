"""Files that people upload: streamed to where the jobs find them, and nowhere else."""

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO

from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler
from django.http import HttpRequest


class TooLarge(Exception):
    """The upload is larger than this deployment takes; the message says what to do."""


class Kept(UploadedFile):  # type: ignore[type-arg]
    """An upload that lies among the uploads under a name of its own."""

    def __init__(self, path: Path, name: str, size: int) -> None:
        super().__init__(None, name, size=size)
        self.stored_as = path.name
        self._path = path

    def discard(self) -> None:
        """Remove it again."""
        self._path.unlink(missing_ok=True)


class Keeping(FileUploadHandler):
    """Writes an upload straight to its place, piece by piece; one that breaks off is removed."""

    _path: Path
    _out: BinaryIO | None = None

    def new_file(self, *args: object, **kwargs: object) -> None:
        """Make the file that the pieces go to."""
        super().new_file(*args, **kwargs)  # type: ignore[arg-type]
        settings.UPLOADS.mkdir(parents=True, exist_ok=True)
        self._path = settings.UPLOADS / uuid.uuid4().hex
        self._out = self._path.open("xb")

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """Write a piece."""
        if self._out:
            self._out.write(raw_data)

    def file_complete(self, file_size: int) -> Kept:
        """Return the upload."""
        self._close()
        return Kept(self._path, self.file_name or "", file_size)

    def upload_interrupted(self) -> None:
        """Remove what has come of it."""
        if self._out:
            self._close()
            self._path.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._out:
            self._out.close()
            self._out = None


def keep_files_of(*, request: HttpRequest) -> None:
    """Have the request's files streamed to the uploads. To be called before anything of it is read. Raises TooLarge."""
    if _length(request.META) > settings.UPLOAD_LIMIT:
        raise TooLarge(
            f"A file has at most {settings.UPLOAD_LIMIT:,} bytes here. Pack it with gzip, cut it in pieces, "
            "or import it on the server: manage.py import_events."
        )
    request.upload_handlers = [Keeping(request)]


def _length(headers: Mapping[str, str]) -> int:
    text = headers.get("CONTENT_LENGTH") or "0"
    return int(text) if text.isdecimal() else 0
