"""The engines by name, for options and settings: importing this loads none of them. See `weft.engines`."""

from typing import Final, Literal, get_args

EngineName = Literal["onnxruntime", "openvino", "openvino-bf16"]
EngineChoice = Literal[EngineName, "auto"]
ENGINES: Final[tuple[EngineName, ...]] = get_args(EngineName)
CHOICES: Final[tuple[EngineChoice, ...]] = get_args(EngineChoice)
NATIVE: Final[EngineName] = "onnxruntime"
OTHERS: Final = tuple(name for name in ENGINES if name != NATIVE)  # only where a bundle's card admits them
