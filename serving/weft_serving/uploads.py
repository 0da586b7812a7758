"""Multipart bodies, read into memory within bounds.

Not Starlette's form: it spools larger files to a temporary file, and a photo's GPS position must never reach
the disk. File names are told to the scan readers as a hint and are never used as paths.
"""

import re
from dataclasses import dataclass, field
from typing import Final

from fastapi import Request
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from weft_serving.problems import (
    BadBodyError,
    BodyTooLargeError,
    ContentTypeError,
    InvalidRequestError,
    TooManyFilesError,
)

_FIELD_BYTES: Final = 4_096
_HEADER_BYTES: Final = 4_096
_PARTS: Final = 32


@dataclass(frozen=True, slots=True)
class Upload:
    """One file of a form. `name` is what the client calls it, cut to its last part, made harmless."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Form:
    fields: dict[str, str] = field(default_factory=dict[str, str])
    files: dict[str, list[Upload]] = field(default_factory=dict[str, list[Upload]])


def media_type(request: Request) -> str:
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


async def read_form(
    request: Request, *, files: dict[str, int], fields: frozenset[str], file_bytes: int
) -> Form:
    """Read a multipart body.

    Args:
        files: Most uploads under each name of a file field.
        fields: Names of the text fields.
        file_bytes: Most bytes of one file.

    Raises:
        ContentTypeError: The body is no multipart form.
        BadBodyError: It cannot be parsed.
        BodyTooLargeError: A file, a field or the number of parts is beyond its limit.
        InvalidRequestError: A name is unknown or given twice.
    """
    kind, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary")
    if kind != b"multipart/form-data" or not boundary:
        raise ContentTypeError(
            f"got {media_type(request)[:80] or 'no content type'}, need multipart/form-data; "
            "send the files as form fields, as `curl -F` does"
        )
    collector = _Collector(files=files, fields=fields, file_bytes=file_bytes)
    try:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": collector.part_begin,
                "on_part_data": collector.part_data,
                "on_part_end": collector.part_end,
                "on_header_field": collector.header_field,
                "on_header_value": collector.header_value,
                "on_header_end": collector.header_end,
                "on_headers_finished": collector.headers_finished,
                "on_end": collector.end,
            },
        )
        async for chunk in request.stream():
            parser.write(chunk)
        parser.finalize()
    except ClientDisconnect as error:
        raise BadBodyError("the connection ended before the body did; send it again") from error
    except (MultipartParseError, ValueError) as error:
        raise BadBodyError("the multipart body cannot be read; send it as `curl -F` does") from error
    if not collector.ended:
        raise BadBodyError("the multipart body ends before its last boundary; send it again")
    return collector.form


async def read_body(request: Request) -> bytes:
    """A whole small body; its size is bounded by the guard."""
    try:
        return await request.body()
    except ClientDisconnect as error:
        raise BadBodyError("the connection ended before the body did; send it again") from error


class _Collector:
    """Gathers the parser's callbacks into a form, and refuses what is beyond its limits at once."""

    def __init__(self, *, files: dict[str, int], fields: frozenset[str], file_bytes: int) -> None:
        self.form = Form()
        self.ended = False
        self._file_names = files
        self._field_names = fields
        self._file_bytes = file_bytes
        self._parts = 0
        self._header = (bytearray(), bytearray())
        self._headers: dict[bytes, bytes] = {}
        self._header_bytes = 0
        self._name = ""
        self._file: str | None = None
        self._data = bytearray()
        self._limit = 0

    def part_begin(self) -> None:
        self._parts += 1
        if self._parts > _PARTS:
            raise BodyTooLargeError(f"the form has more than {_PARTS} parts; send fewer")
        self._headers = {}
        self._header_bytes = 0
        self._data = bytearray()

    def header_field(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._header[0].extend(data[start:end])

    def header_value(self, data: bytes, start: int, end: int) -> None:
        self._count_header(end - start)
        self._header[1].extend(data[start:end])

    def header_end(self) -> None:
        self._headers[bytes(self._header[0]).lower()] = bytes(self._header[1])
        self._header = (bytearray(), bytearray())

    def headers_finished(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"name")
        if kind != b"form-data" or name is None:
            raise BadBodyError("a part of the form has no name; send it as `curl -F` does")
        self._name = name.decode("utf-8", "replace")
        filename = options.get(b"filename")
        if filename is None:
            self._file = None
            self._limit = _FIELD_BYTES
            self._check_field()
        else:
            self._file = _harmless(filename.decode("utf-8", "replace"))
            self._limit = self._file_bytes
            self._check_file()

    def part_data(self, data: bytes, start: int, end: int) -> None:
        if len(self._data) + end - start > self._limit:
            raise BodyTooLargeError(
                f"`{self._name[:40]}` has more than {self._limit:,} bytes, the most that is taken; "
                "send a smaller one"
            )
        self._data.extend(memoryview(data)[start:end])

    def part_end(self) -> None:
        if self._file is None:
            text = self._data.decode("utf-8", "replace").strip()
            if text:  # a form sends what was left empty as well
                self.form.fields[self._name] = text
        elif self._file or self._data:  # a form sends a nameless empty file where none was chosen
            self.form.files.setdefault(self._name, []).append(Upload(self._file, bytes(self._data)))
        self._data = bytearray()

    def end(self) -> None:
        self.ended = True

    def _count_header(self, count: int) -> None:
        self._header_bytes += count
        if self._header_bytes > _HEADER_BYTES:
            raise BodyTooLargeError(
                f"a part's headers have more than {_HEADER_BYTES:,} bytes; send shorter ones"
            )

    def _check_field(self) -> None:
        if self._name in self._file_names:
            raise InvalidRequestError(f"`{self._name}` has to be a file; with curl: -F {self._name}=@FILE")
        if self._name not in self._field_names:
            raise InvalidRequestError(self._unknown())
        if self._name in self.form.fields:
            raise InvalidRequestError(f"`{self._name}` is given twice; send it once")

    def _check_file(self) -> None:
        if self._name not in self._file_names:
            raise InvalidRequestError(self._unknown())
        most = self._file_names[self._name]
        if len(self.form.files.get(self._name, [])) >= most:
            raise TooManyFilesError(
                f"`{self._name}` takes at most {most} file(s), more were sent; leave some out"
            )

    def _unknown(self) -> str:
        known = ", ".join([*self._file_names, *sorted(self._field_names)])
        return f"there is no field {self._name[:40]!r} here; known: {known}"


def _harmless(name: str) -> str:
    last = re.split(r"[/\\]", name)[-1]
    return re.sub(r"[^\w.\- ]", "_", last)[-100:]
