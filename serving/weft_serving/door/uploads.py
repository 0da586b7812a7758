"""Files in bodies, read into memory within bounds, and handed on while they come where somebody wants that.

Not Starlette's form: it spools larger files to a temporary file, and a photo's GPS position must never reach
the disk. File names are told to the scan readers as a hint and are never used as paths.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from fastapi import Request
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser
from starlette.requests import ClientDisconnect

from weft.errors import PhotoError
from weft_serving.door.arriving import Arrival
from weft_serving.door.small_forms import boundary_of, read_disposition, split_form
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
_SMALL_BYTES: Final = 200_000  # a body of which nothing is gained by looking at it before it is whole
_MORE_THAN: Final = "more than {:,} bytes, the most that is taken; send a smaller one"

Begin = Callable[[], Arrival]


@dataclass(frozen=True, slots=True)
class Upload:
    """One file of a form. `name` is what the client calls it, cut to its last part, made harmless."""

    name: str
    data: bytes  # empty where it is an `arrival`
    arrival: Arrival | None = None


@dataclass(frozen=True, slots=True)
class Form:
    fields: dict[str, str] = field(default_factory=dict[str, str])
    files: dict[str, list[Upload]] = field(default_factory=dict[str, list[Upload]])


def media_type(request: Request) -> str:
    return request.headers.get("content-type", "").split(";")[0].strip().lower()


async def read_form(
    request: Request,
    *,
    files: dict[str, int],
    fields: frozenset[str],
    file_bytes: int,
    begin: Begin | None = None,
    refuse_at_once: bool = False,
) -> Form:
    """Read a multipart body.

    Args:
        files: Most uploads under each name of a file field.
        fields: Names of the text fields.
        file_bytes: Most bytes of one file.
        begin: Begins an arrival for each file, which is then handed on while it comes and is the caller's to
            finish; after an error here, all are abandoned.
        refuse_at_once: A file that is refused while it arrives ends the request with its PhotoError.

    Raises:
        ContentTypeError: The body is no multipart form.
        BadBodyError: It cannot be parsed.
        BodyTooLargeError: A file, a field or the number of parts is beyond its limit.
        InvalidRequestError: A name is unknown or given twice.
    """
    boundary = boundary_of(request.headers.get("content-type", ""))
    if boundary is None:
        raise _no_form(request, photos=begin is not None)
    collector = _Collector(files=files, fields=fields, file_bytes=file_bytes, begin=begin)
    try:
        first = await _small(request)
        if first is None or not collector.take_whole(first, boundary):
            await _parse(request, collector, boundary, first, refuse_at_once=refuse_at_once)
    except BaseException:  # cancelled as well: nothing of it may stay behind
        collector.abandon()
        raise
    return collector.form


def _no_form(request: Request, *, photos: bool) -> ContentTypeError:
    got = media_type(request)
    if got == "multipart/form-data":
        return ContentTypeError(
            "got multipart/form-data without its boundary, need `multipart/form-data; boundary=...`; "
            "leave the header to the client's own library, or send the form as `curl -F` does"
        )
    alone = ", or one photo as the body itself with `Content-Type: image/jpeg`" if photos else ""
    return ContentTypeError(
        f"got {got[:80] or 'no content type'}, need multipart/form-data; "
        f"send the files as form fields, as `curl -F` does{alone}"
    )


async def _small(request: Request) -> bytes | None:
    """The whole of a small body whose length is known; None of any other."""
    length = request.headers.get("content-length", "")
    if not length.isdigit() or int(length) > _SMALL_BYTES:
        return None
    return await read_body(request)


async def _parse(
    request: Request, collector: "_Collector", boundary: bytes, body: bytes | None, *, refuse_at_once: bool
) -> None:
    """Parse a body in the pieces that it comes in, or the whole `body`."""
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
        if body is not None:
            parser.write(body)
        else:
            async for chunk in request.stream():
                parser.write(chunk)
                if refuse_at_once and collector.refused is not None:
                    raise collector.refused
        parser.finalize()
    except ClientDisconnect as error:
        raise BadBodyError("the connection ended before the body did; send it again") from error
    except (MultipartParseError, ValueError) as error:
        raise BadBodyError("the multipart body cannot be read; send it as `curl -F` does") from error
    if not collector.ended:
        raise BadBodyError("the multipart body ends before its last boundary; send it again")


async def read_photo(request: Request, *, file_bytes: int, arrival: Arrival) -> None:
    """Read a body that is one photo into `arrival`, which is abandoned after an error.

    Raises:
        BadBodyError: The connection ended before it.
        PhotoError: It is refused for what has come of it, which may be long before its end.
    """
    received = 0
    try:
        async for chunk in request.stream():
            received += len(chunk)
            if received > file_bytes:
                raise BodyTooLargeError(f"the photo has {_MORE_THAN.format(file_bytes)}")
            arrival.feed(chunk)
            if arrival.refused is not None:
                raise arrival.refused
    except ClientDisconnect as error:
        arrival.abandon()
        raise BadBodyError("the connection ended before the body did; send it again") from error
    except BaseException:
        arrival.abandon()
        raise


async def read_body(request: Request) -> bytes:
    """A whole small body; its size is bounded by the guard."""
    try:
        return await request.body()
    except ClientDisconnect as error:
        raise BadBodyError("the connection ended before the body did; send it again") from error


class _Collector:
    """Gathers the parser's callbacks into a form, and refuses what is beyond its limits at once."""

    def __init__(
        self, *, files: dict[str, int], fields: frozenset[str], file_bytes: int, begin: Begin | None
    ) -> None:
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
        self._pieces: list[bytes] = []
        self._size = 0
        self._limit = 0
        self._begin = begin
        self._arrival: Arrival | None = None

    def part_begin(self) -> None:
        self._parts += 1
        if self._parts > _PARTS:
            raise BodyTooLargeError(f"the form has more than {_PARTS} parts; send fewer")
        self._headers = {}
        self._header_bytes = 0
        self._pieces, self._size = [], 0

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
        named = read_disposition(self._headers.get(b"content-disposition", b""))
        if named is None:
            raise BadBodyError("a part of the form has no name; send it as `curl -F` does")
        self._open(*named)

    def _open(self, name: str, filename: str | None) -> None:
        self._name = name
        if filename is None:
            self._file = None
            self._limit = _FIELD_BYTES
            self._check_field()
        else:
            self._file = _harmless(filename)
            self._limit = self._file_bytes
            self._check_file()
            self._arrival = self._begin() if self._begin is not None else None

    def take_whole(self, body: bytes, boundary: bytes) -> bool:
        """Take a whole body, if it is of the plain shape. What is there already is no arrival."""
        parts = split_form(body, boundary)
        if parts is None:
            return False
        self._begin = None
        for part in parts:
            self.part_begin()
            self._open(part.name, part.filename)
            self.part_data(part.data, 0, len(part.data))
            self.part_end()
        self.ended = True
        return True

    def part_data(self, data: bytes, start: int, end: int) -> None:
        self._size += end - start
        if self._size > self._limit:
            raise BodyTooLargeError(f"`{self._name[:40]}` has {_MORE_THAN.format(self._limit)}")
        piece = data if end - start == len(data) else data[start:end]
        if self._arrival is None:
            self._pieces.append(piece)
        else:
            self._arrival.feed(piece)

    def part_end(self) -> None:
        arrival, self._arrival = self._arrival, None
        if self._file is None:
            text = self._text().strip()
            if text:  # a form sends what was left empty as well
                self.form.fields[self._name] = text
        elif self._file or self._size:  # a form sends a nameless empty file where none was chosen
            upload = Upload(self._file, b"".join(self._pieces), arrival)
            self.form.files.setdefault(self._name, []).append(upload)
        elif arrival is not None:
            arrival.abandon()
        self._pieces, self._size = [], 0

    def _text(self) -> str:
        try:
            return b"".join(self._pieces).decode("utf-8")
        except UnicodeDecodeError as error:  # replaced, two different codes would become one
            raise InvalidRequestError(f"`{self._name}` is no UTF-8 text; send it in UTF-8") from error

    @property
    def refused(self) -> PhotoError | None:
        return self._arrival.refused if self._arrival is not None else None

    def abandon(self) -> None:
        """Free what arrivals hold."""
        uploads = [upload for uploads in self.form.files.values() for upload in uploads]
        for arrival in [self._arrival, *(upload.arrival for upload in uploads)]:
            if arrival is not None:
                arrival.abandon()

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
