"""Lets torchvision be imported beside a torch it was not built for. Import this before timm or lightning.

Where a CPU torch meets a CUDA-built torchvision, `import torchvision`, and with it timm, torchmetrics and
lightning, dies with "operator torchvision::nms does not exist". On a healthy pair nothing is changed.

The package's `__init__` does not import this, so that `weft --help` need not wait seconds for torch; every
module that imports timm or lightning does, as its first line:

    from weft_training import torchvision_gate  # isort: skip
"""

import importlib.util
import sys
from pathlib import Path

import torch

_LIB: torch.library.Library | None = None  # operators vanish when their library object is collected


def ensure() -> bool:
    """True if torchvision's native operators load; False if only its Python part can be used."""
    global _LIB
    if _LIB is not None:
        return False
    if "torchvision" in sys.modules:
        return True
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("torchvision")
    try:
        for shared in Path(spec.origin).parent.glob("_C*"):
            if shared.suffix in {".so", ".pyd"}:
                torch.ops.load_library(str(shared))
        return True
    except OSError:
        # torchvision's Python part registers fake kernels for these two and needs them declared, no more.
        _LIB = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            _LIB.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return False


NATIVE = ensure()
