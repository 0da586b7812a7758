"""The section of a fibre recipe that puts a photo beside the scan. See `weft_training.recipe`."""

from typing import Literal

from pydantic import Field

from weft_training.section import Section


class PhotoBeside(Section):
    """A photo of the same swatch, where the manifest's `photo_path` names one; the backbone is frozen."""

    backbone: str  # a name of timm
    pretrained: str | None = None  # a timm or hf-hub tag, or the path of a .safetensors or .pth file
    pretrained_classes: int | None = None  # classes of the file's classifier, where it has one: 1001
    pad_type: str | None = None  # "same" for weights that came from TensorFlow
    scaling: Literal["imagenet", "unit"] = "imagenet"  # unit: x / 127.5 - 1
    input_px: int = Field(default=224, ge=32)
    decode_px: int = Field(default=320, ge=32)  # least longest side that a photo is decoded to
    views: int = Field(default=6, ge=0)  # changed copies that the head is fitted on beside the photo itself
