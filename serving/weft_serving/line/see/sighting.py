"""From what the NIR camera's thread found to the whole record of a piece: vote, colour, mass, evidence."""

from datetime import datetime
from threading import Lock

import numpy as np
import simplejpeg

from weft.errors import FrameError
from weft.line.description import LineDescription
from weft.line.frames import Frame
from weft.line.mass import estimate_mass
from weft.line.reader import BeltReader
from weft.line.records import Piece, Place
from weft_serving.line.see.colour import ColourBelt, Look
from weft_serving.line.see.pieces import FoundPiece, to_piece
from weft_serving.line.sinks import Evidence


class Colours:
    """The colour belt between two threads: one adds pictures, the other looks pieces up."""

    def __init__(self, description: LineDescription) -> None:
        self._camera = description.colour
        self._belt = None if description.colour is None else ColourBelt(description, description.colour)
        self._lock = Lock()

    def add(self, frame: Frame, travel_mm: float) -> None:
        """Raises FrameError for a picture that is broken or not of this camera's size."""
        if self._belt is None or self._camera is None:
            raise FrameError("a colour picture came, but the line's file has no colour camera; describe it")
        needed = (self._camera.height_px, self._camera.width_px, 3)
        if frame.shape != needed:
            raise FrameError(f"a colour picture of {frame.shape} came, needed {needed}; set the camera so")
        with self._lock:
            if not self._belt.wants(travel_mm):
                return
        if isinstance(frame.content, bytes):
            try:
                image = simplejpeg.decode_jpeg(frame.content, colorspace="RGB")
            except ValueError as error:
                raise FrameError(f"colour frame {frame.number} is damaged ({error}); send it all") from error
        else:
            image = frame.content
        with self._lock:
            self._belt.add(image, travel_mm)

    def covers(self, belt_mm: float) -> bool:
        with self._lock:
            return self._belt is None or self._belt.covers(belt_mm)

    def look(self, place: Place, outline_mm: tuple[tuple[float, float], ...]) -> Look | None:
        with self._lock:
            return None if self._belt is None else self._belt.look(place, outline_mm)


class Sightings:
    """Makes records of pieces and numbers them. Used from one thread."""

    def __init__(self, description: LineDescription, reader: BeltReader, colours: Colours) -> None:
        self._description = description
        self._reader = reader
        self._colours = colours
        self._axis = np.array(description.nir.wavelength_nm)
        self._number = 0

    def go_on_from(self, last_number: int) -> None:
        self._number = last_number

    def record(self, found: FoundPiece, seen_at: datetime) -> tuple[Piece, Look | None]:
        """One piece as everything saw it."""
        self._number += 1
        line = self._description.name
        seen = to_piece(found, self._reader, line=line, number=self._number, seen_at=seen_at)
        look = self._colours.look(found.place, found.outline_mm)
        lacks_colour = look is None and self._description.colour is not None
        mass = estimate_mass(self._reader.card.mass, area_cm2=found.area_cm2, shares=seen.shares)
        piece = seen.model_copy(
            update={
                "flags": (*seen.flags, "no-colour") if lacks_colour else seen.flags,
                "colour": None if look is None else look.colour,
                "mass": mass,
            }
        )
        return piece, look

    def evidence(self, found: FoundPiece, look: Look | None) -> Evidence:
        """What is kept beside the record."""
        picture = None if look is None else look.picture
        return Evidence(self._axis, np.asarray(found.absorbance, np.float32), picture)
