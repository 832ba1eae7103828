"""Files to take in, as they are found: single files, folders, and the members of tar archives."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import IO, cast

from facility.errors import DataError
from facility.recording import recording_parts

HEAD_BYTES = 65_536
MEMBER_BYTES = 256 * 2**20  # a member is held in memory; a larger one is to be unpacked
GZIP_MAGIC, XZ_MAGIC, TAR_MAGIC = b"\x1f\x8b", b"\xfd7zXZ\x00", b"ustar"
TAR_MAGIC_AT = 257
UNPACK_ERRORS = (OSError, EOFError, lzma.LZMAError, zlib.error, tarfile.TarError)


@dataclass(frozen=True)
class Source:
    """One file: on disk (``path``; a folder for a recording) or out of an archive (``content``)."""

    name: str  # as the user knows it
    file_name: str  # its last part
    modified: datetime
    path: Path
    content: bytes | None = None

    @property
    def is_member(self) -> bool:
        """Whether it was found in an archive."""
        return self.content is not None

    @contextlib.contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """The bytes, unpacked where they are gzip or xz; raises DataError for what cannot be read."""
        try:
            with contextlib.ExitStack() as stack:
                raw: IO[bytes] = io.BytesIO(self.content) if self.content is not None else self.path.open("rb")
                stack.enter_context(raw)
                yield stack.enter_context(_unpacked(raw))
        except UNPACK_ERRORS as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise DataError(f"cannot read: {reason}", where=self.name, hint="is the file whole?") from error

    @cached_property
    def head(self) -> bytes:
        """The first bytes, to tell the kind by; none for a folder."""
        if self.path.is_dir():
            return b""
        with self.open() as file:
            return file.read(HEAD_BYTES)

    @cached_property
    def head_lines(self) -> list[str]:
        """The first lines of a text; none for a binary file."""
        if b"\x00" in self.head:
            return []
        text = self.head.decode("utf-8-sig", "replace")
        lines = text.splitlines()
        return lines[:-1] if len(self.head) == HEAD_BYTES and len(lines) > 1 else lines

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the content, by which a file is known again whatever its name."""
        if self.content is not None:
            return hashlib.sha256(self.content).hexdigest()
        try:
            if not self.path.is_dir():
                return _digest_of(self.path)
            return hashlib.sha256("".join(map(_digest_of, recording_parts(self.path))).encode()).hexdigest()
        except OSError as error:
            raise DataError(f"cannot read: {error.strerror}", where=self.name) from error


def find(path: Path) -> Iterator[Source | DataError]:
    """Every file that ``path`` stands for; what cannot be opened comes as the error, and the others follow.

    A folder with telemetry.parquet, or parts of it, is one recording; any other folder is searched. An archive gives
    its members.
    """
    try:
        if path.is_dir():
            yield from _in_folder(path)
            return
        source = Source(str(path), path.name, datetime.fromtimestamp(path.stat().st_mtime, UTC), path)
        if source.head[TAR_MAGIC_AT:].startswith(TAR_MAGIC):
            yield from _members(source)
        else:
            yield source
    except OSError as error:
        yield DataError(f"cannot read: {error.strerror}", where=str(path), hint="check the path and its permissions")
    except DataError as error:
        yield error


def _in_folder(path: Path) -> Iterator[Source | DataError]:
    if recording_parts(path):
        yield Source(str(path), path.name, datetime.fromtimestamp(path.stat().st_mtime, UTC), path)
        return
    inside = sorted(child for child in path.iterdir() if not child.name.startswith("."))
    if not inside:
        yield DataError("the folder is empty", where=str(path))
    for child in inside:
        yield from find(child)


def _members(archive: Source) -> Iterator[Source | DataError]:
    with archive.open() as stream, tarfile.open(fileobj=stream, mode="r|") as members:
        for member in members:
            file_name = member.name.rsplit("/", 1)[-1]
            if not member.isfile() or file_name.startswith("."):
                continue
            name = f"{archive.name}:{member.name}"
            if member.size > MEMBER_BYTES:
                size = f"{member.size / 2**20:.0f} MiB"
                yield DataError(f"too large to read from an archive: {size}", where=name, hint="unpack it first")
                continue
            content = members.extractfile(member)
            modified = datetime.fromtimestamp(max(member.mtime, 0), UTC)
            yield Source(name, file_name, modified, archive.path, b"" if content is None else content.read())


def _unpacked(raw: IO[bytes]) -> IO[bytes]:
    start = raw.read(len(XZ_MAGIC))
    raw.seek(0)
    if start.startswith(XZ_MAGIC):
        return lzma.open(raw)
    if start.startswith(GZIP_MAGIC):
        return cast("IO[bytes]", gzip.GzipFile(fileobj=raw))
    return raw


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
