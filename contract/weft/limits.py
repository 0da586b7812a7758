"""The one table of what a single input may cost. The same figures stand in `docs/limits.md`."""

from typing import Final

PHOTO_BYTES: Final = 30_000_000
REQUEST_BYTES: Final = 60_000_000
PHOTO_PIXELS: Final = 120_000_000
PHOTO_PIXELS_WHOLE: Final = 60_000_000  # PNG, HEIC, progressive JPEG: decoded from the whole
PHOTO_PIXELS_WEBP: Final = 25_000_000  # its decoder holds four copies: 16 bytes a pixel, the others 6 to 8
PHOTOS_PER_ESTIMATE: Final = 9
SPECTRUM_POINTS: Final = 10_000
SPECTRUM_POINTS_MIN: Final = 8
CUBE_BYTES: Final = 2_000_000_000  # unpacked
SCAN_FILE_BYTES: Final = 60_000_000  # a scan file as uploaded, zip or text
FRAME_BYTES: Final = 60_000_000  # one message of a line's camera
FRAME_ROWS: Final = 4_096  # lines of the NIR camera in it
