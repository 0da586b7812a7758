"""The section of a fibre recipe that puts a photo beside the scan. See `weft_training.recipe`."""

from pydantic import Field

from weft_training.section import PhotoBackbone


class PhotoBeside(PhotoBackbone):
    """A photo of the same swatch, where the manifest's `photo_path` names one; the backbone is frozen."""

    decode_px: int = Field(default=320, ge=32)  # least longest side that a photo is decoded to
    views: int = Field(default=6, ge=0)  # changed copies that the head is fitted on beside the photo itself
