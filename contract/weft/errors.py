"""Everything that can go wrong by a user's hand, in one tree.

    WeftError
    ├── InputError                what was sent to be weighed or identified
    │   ├── PhotoError
    │   │   ├── UnsupportedPhotoError   not an image, or a kind we do not read
    │   │   ├── BrokenPhotoError        truncated, empty or damaged
    │   │   ├── TooLargeError           bytes or pixels beyond `weft.limits`
    │   │   └── WrongPhotosError        number or bands that the bundle cannot take
    │   └── ScanError
    │       ├── UnsupportedScanError    a file kind we do not read
    │       ├── BrokenScanError         malformed, NaN, too few points, a header that lies
    │       ├── ScanTooLargeError
    │       ├── QuantityError           values that cannot be the stated quantity
    │       ├── ReferenceNeededError    raw counts without white and dark references
    │       └── GridMismatchError       wavelengths do not cover what the bundle needs
    ├── BundleError
    │   ├── SealError               the file is not the one that was sealed
    │   ├── CardError               the metadata is missing or does not hold
    │   ├── ProofError              this machine's engine answers differently from the trained model
    │   ├── EngineError             an engine that is not installed, not on the card, or not for this CPU
    │   └── WrongTaskError          a weight or belt bundle where a fibre bundle is needed, ...
    ├── FibreError                  an unknown fibre name, shares that do not sum to 1
    ├── ManifestError               a table of captures that cannot be trained or measured on
    ├── RecipeError                 a misspelt, missing or impossible setting
    ├── RecalibrationError          known swatches that carry no correction
    ├── RunError                    a training run that cannot be resumed, exported or promoted
    ├── LineError                   a sorting line
    │   ├── LineDescriptionError    cameras, belt or ejectors that do not hang together
    │   ├── RuleError               lanes that contradict each other, a misspelt fibre
    │   ├── FrameError              half a frame, another shape than the camera's, out of order
    │   └── LineReferenceError      references that are stale, saturated or of another camera
    ├── BenchError                  a server that cannot be measured, or answers wrong while it is
    └── StoreError                  a database or folder that cannot be used

A message is one sentence fit to show to an operator: what we got, what we need, what to do.
`slug` is the stable name under which HTTP answers report the kind.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

if TYPE_CHECKING:
    from weft.line.lanes import Finding


class WeftError(Exception):
    """Base class. The message is one sentence fit to show to an operator."""

    slug: ClassVar[str] = "error"


class InputError(WeftError):
    slug = "bad-input"


class PhotoError(InputError):
    slug = "bad-photo"


class UnsupportedPhotoError(PhotoError):
    slug = "unsupported-photo"


class BrokenPhotoError(PhotoError):
    slug = "broken-photo"


class TooLargeError(PhotoError):
    slug = "photo-too-large"


class WrongPhotosError(PhotoError):
    slug = "wrong-photos"


class ScanError(InputError):
    slug = "bad-scan"


class UnsupportedScanError(ScanError):
    slug = "unsupported-scan"


class BrokenScanError(ScanError):
    slug = "broken-scan"


class ScanTooLargeError(ScanError):
    slug = "scan-too-large"


class QuantityError(ScanError):
    slug = "wrong-quantity"


class ReferenceNeededError(ScanError):
    slug = "reference-needed"


class GridMismatchError(ScanError):
    """A spectrum does not cover the wavelengths that the bundle needs."""

    slug = "grid-mismatch"

    def __init__(self, *, got_nm: tuple[float, float], needed_nm: tuple[float, float]) -> None:
        super().__init__(
            f"spectrum covers {got_nm[0]:g}-{got_nm[1]:g} nm, bundle needs "
            f"{needed_nm[0]:g}-{needed_nm[1]:g} nm; scan that range or load a bundle for this instrument"
        )
        self.got_nm = got_nm
        self.needed_nm = needed_nm


class BundleError(WeftError):
    slug = "bad-bundle"


class SealError(BundleError):
    slug = "broken-seal"


class CardError(BundleError):
    slug = "bad-card"


class ProofError(BundleError):
    slug = "failed-proof"


class EngineError(BundleError):
    slug = "bad-engine"


class WrongTaskError(BundleError):
    slug = "wrong-task"


class FibreError(WeftError):
    slug = "bad-composition"


class ManifestError(WeftError):
    slug = "bad-manifest"


class RecipeError(WeftError):
    slug = "bad-recipe"


class RecalibrationError(WeftError):
    slug = "bad-recalibration"


class RunError(WeftError):
    slug = "bad-run"


class LineError(WeftError):
    slug = "bad-line"


class LineDescriptionError(LineError):
    slug = "bad-line-description"


class RuleError(LineError):
    """Lanes that cannot be decided by; `findings` holds all that was found, not the first fault alone."""

    slug = "bad-rules"

    def __init__(self, message: str, *, findings: tuple["Finding", ...] = ()) -> None:
        super().__init__(message)
        self.findings = findings


class FrameError(LineError):
    slug = "bad-frame"


class LineReferenceError(LineError):
    """References that no reflectance can be computed with; `code` is the alarm that says so."""

    slug = "bad-reference"
    code: Literal["reference-missing", "reference-stale", "reference-saturated"]

    def __init__(
        self,
        message: str,
        *,
        code: Literal["reference-missing", "reference-stale", "reference-saturated"] = "reference-missing",
    ) -> None:
        super().__init__(message)
        self.code = code


class BenchError(WeftError):
    slug = "bench"


class StoreError(WeftError):
    slug = "bad-store"
