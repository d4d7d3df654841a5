"""Where history lies: files, folders, globs, standard input, and what is packed inside of them."""

import glob
import gzip
import hashlib
import io
import os
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, cast

STANDARD_INPUT = "-"
HEAD = 1 << 16  # bytes that are looked at to find out what a file is
ENDS = 1 << 16  # bytes at each end of a file by which it is known again
COPIED = 1 << 20  # bytes at once
UNREADABLE = (OSError, EOFError, zlib.error, zipfile.BadZipFile)


class NoFiles(Exception):
    """There is nothing to read; the message says where."""


class Part(Protocol):
    """Records with a beginning and an end: a file, or a member of a zip."""

    @property
    def name(self) -> str:
        """What people call it."""

    @property
    def size(self) -> int | None:
        """Bytes as they lie there; None where that is unknown."""

    def fingerprint(self) -> bytes:
        """Return what it is known by: the same for the same bytes, another for any others."""

    def opened(self) -> AbstractContextManager[BinaryIO]:
        """Open it from its beginning, as it lies there."""


@dataclass(frozen=True, slots=True)
class File:
    """A file of its own."""

    path: Path
    name: str

    @property
    def size(self) -> int | None:
        """Bytes on disk."""
        return self.path.stat().st_size

    def fingerprint(self) -> bytes:
        """Return a digest of its size, the time of its last change, and its ends."""
        found = self.path.stat()
        digest = hashlib.sha256(f"{found.st_size} {found.st_mtime_ns} ".encode())
        with self.path.open("rb") as raw:
            digest.update(raw.read(ENDS))
            raw.seek(max(found.st_size - ENDS, 0))
            digest.update(raw.read(ENDS))
        return digest.digest()

    def opened(self) -> AbstractContextManager[BinaryIO]:
        """Open the file."""
        return self.path.open("rb", buffering=HEAD)


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a zip."""

    archive: Path
    info: zipfile.ZipInfo
    archive_name: str

    @property
    def name(self) -> str:
        """The zip's name and its own."""
        return f"{self.archive_name}/{self.info.filename}"

    @property
    def size(self) -> int | None:
        """Bytes that the zip unpacks: that is where a reader stands."""
        return self.info.file_size

    def fingerprint(self) -> bytes:
        """Return a digest of its name, size and checksum."""
        return hashlib.sha256(f"{self.info.filename} {self.info.file_size} {self.info.CRC}".encode()).digest()

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Open the member."""
        with zipfile.ZipFile(self.archive) as archive, archive.open(self.info) as raw:
            yield cast("BinaryIO", raw)


@dataclass(frozen=True, slots=True)
class StandardInput:
    """What is piped in; it can be read once, and is never known again."""

    name: str = "standard input"
    size: None = None

    def fingerprint(self) -> bytes:
        """Return a new one each time."""
        return os.urandom(32)

    @contextmanager
    def opened(self) -> Iterator[BinaryIO]:
        """Give standard input."""
        yield sys.stdin.buffer


def parts(*, places: Sequence[str]) -> list[Part]:
    """Return all parts at the places (files, folders, globs, or - for standard input), in the order of their names.

    In a folder, and below it, hidden files, files named _… (marks of the exporting system) and empty ones are left
    out. A zip is taken apart into its members. Raises NoFiles, and OSError for what cannot be read.
    """
    found = [part for place in places for part in _at(place)]
    if not found:
        raise NoFiles(f"there is nothing to read in {', '.join(places)}")
    return found


@contextmanager
def copied(*, stream: BinaryIO) -> Iterator[Path]:
    """Give the path of a temporary file with what is left in the stream."""
    with tempfile.NamedTemporaryFile() as copy:
        while data := stream.read(COPIED):
            copy.write(data)
        copy.flush()
        yield Path(copy.name)


def named(*, path: Path, name: str) -> list[Part]:
    """Return the parts of one file that people know by another name than its path's. Raises OSError."""
    if zipfile.is_zipfile(path) and not _is_parquet(path):
        with zipfile.ZipFile(path) as archive:
            members = sorted(archive.infolist(), key=lambda info: info.filename)
        return [Member(path, info, name) for info in members if not info.is_dir() and _counts(Path(info.filename))]
    return [File(path, name)]


def unpacked(*, raw: BinaryIO) -> io.BufferedReader:
    """Return the stream, or what is in it if it is gzip, whatever its name says."""
    stream = raw if isinstance(raw, io.BufferedReader) else io.BufferedReader(cast("io.RawIOBase", raw), HEAD)
    if stream.peek(2)[:2] == b"\x1f\x8b":
        return io.BufferedReader(cast("io.RawIOBase", gzip.GzipFile(fileobj=stream)), HEAD)
    return stream


def _at(place: str) -> list[Part]:
    if place == STANDARD_INPUT:
        return [StandardInput()]
    path = Path(place)
    if path.is_dir():
        below = sorted(file for file in path.rglob("*") if file.is_file() and _counts(file.relative_to(path)))
        return [part for file in below if file.stat().st_size for part in named(path=file, name=str(file))]
    if not path.exists() and glob.has_magic(place):
        files = sorted(file for file in glob.glob(place, recursive=True) if Path(file).is_file())  # noqa: PTH207 - a
        return [part for file in files for part in named(path=Path(file), name=file)]  # pattern may begin with /
    path.stat()  # raises what is wrong with it
    return named(path=path, name=place)


def _counts(path: Path) -> bool:
    return not any(step.startswith((".", "_")) for step in path.parts)


def _is_parquet(path: Path) -> bool:
    """Parquet may hold the end mark of a zip by chance."""
    with path.open("rb") as raw:
        return raw.read(4) == b"PAR1"
