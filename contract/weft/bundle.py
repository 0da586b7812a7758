"""The one file that training hands to serving: an ONNX graph with its card, its proof and its seal.

Layout: a serialised ONNX model whose `metadata_props` hold `weft.card` (JSON), `weft.proof` (an npz in
base64) and, as the very last bytes of the file, `weft.sha256`: the SHA-256 of the whole file with these 64
digits zeroed.
The seal is checked before anything is parsed. It proves integrity, not origin.
"""

import base64
import hashlib
import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from weft.card import Card, Task, read_card
from weft.engine_names import NATIVE, EngineChoice, EngineName
from weft.engines import Arrays, Engine, Port, fits_here, start_engine
from weft.errors import BundleError, CardError, EngineError, ProofError, SealError, WrongTaskError
from weft.memory import give_back
from weft.onnx_file import read_metadata, with_metadata

CARD_KEY: Final = "weft.card"
PROOF_KEY: Final = "weft.proof"
SEAL_KEY: Final = "weft.sha256"
PROOF_CASES: Final = 4
OUTPUTS: Final[Mapping[Task, frozenset[str]]] = {
    "weight": frozenset({"grams", "low_grams", "high_grams"}),
    "composition": frozenset({"shares", "low", "high", "unknown"}),
    "belt": frozenset({"shares", "unknown"}),
}
_FASTEST_FIRST: Final[tuple[EngineName, ...]] = ("openvino-bf16", "openvino")
ONLY_WEIGHT: Final = "other engines are for weight bundles: spectra gain nothing (docs/engines.md)"
_USUAL_PHOTOS: Final = 4
_USUAL_VALUES: Final = 1_000_000  # of spectra in one call
_NO_PHOTO: Final[Arrays] = {
    "photos": np.zeros((1, 3, 8, 8), np.uint8),
    "size": np.array([[8, 8]]),
    "has_scan": np.ones(1, np.bool_),
    "has_photo": np.zeros(1, np.bool_),
}
BUNDLED: Final = Path(__file__).parent / "bundles"

_DIGITS: Final = 64
# ModelProto.metadata_props is field 14; protobuf lets a repeated field be continued by appending bytes, so
# the seal can stand last whatever the writer's order. Every length below is under 128: one byte each.
_KEY_FIELD: Final = b"\x0a" + bytes([len(SEAL_KEY)]) + SEAL_KEY.encode()
_ENTRY_HEAD: Final = _KEY_FIELD + b"\x12" + bytes([_DIGITS])
SEAL_HEAD: Final = b"\x72" + bytes([len(_ENTRY_HEAD) + _DIGITS]) + _ENTRY_HEAD


class Bundle:
    """A verified model. Made by `load_bundle` only; safe to call from several threads."""

    def __init__(self, *, engine: Engine, card: Card, sha256: str, source: str) -> None:
        self._engine = engine
        self._takes = {name for name, _, _ in engine.inputs()}
        self.card = card
        self.sha256 = sha256
        self.source = source

    @property
    def engine(self) -> EngineName:
        return self._engine.name

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Run the graph; names, shapes and types are those of `docs/bundle.md`.

        Whoever asks a fibre bundle that takes a photo of a scan alone may leave the photo's inputs out, and
        `mark_at` whoever does not know where a mark lies.
        """
        given, lacks = inputs, self.may_lack()
        if "has_photo" in lacks:
            given = {**_NO_PHOTO, **inputs}
        elif "mark_at" in lacks and "mark_at" not in inputs:
            given = {**inputs, "mark_at": np.zeros((*inputs["mask"].shape, 3), np.float32)}
        fed = {name: value for name, value in given.items() if name in self._takes}
        return self._engine.run(fed, large=_is_large(fed))

    def may_lack(self) -> tuple[str, ...]:
        """The inputs that `run` fills where they are left out."""
        section = self.card.composition
        if section is not None and section.photo is not None:
            return tuple(_NO_PHOTO)
        return ("mark_at",) if "mark_at" in self._takes else ()

    def inputs(self) -> list[Port]:
        """Name, element type and shape of every graph input."""
        return self._engine.inputs()

    def outputs(self) -> list[Port]:
        """Name, element type and shape of every graph output."""
        return self._engine.outputs()

    def bound(self, output: str) -> float:
        """How far this output may be off; another engine's card that does not name it allows nothing."""
        proof = self.card.proof
        return proof.bound if self.engine == NATIVE else proof.engines[self.engine].bound.get(output, 0.0)


def _is_large(inputs: Arrays) -> bool:
    """Whether this needs far more memory than the usual call: a whole cube, many photos, a proof."""
    mask, spectra = inputs.get("mask"), inputs.get("absorbance")
    if mask is not None:
        return mask.size > _USUAL_PHOTOS
    return spectra is not None and spectra.size > _USUAL_VALUES


def sealed(model: bytes) -> bytes:
    """Append the seal to a serialised ONNX model."""
    zeroed = model + SEAL_HEAD + b"0" * _DIGITS
    return zeroed[:-_DIGITS] + hashlib.sha256(zeroed).hexdigest().encode()


def repacked(data: bytes, card: Card) -> bytes:
    """A bundle with another card under a new seal; graph and proof stay, byte for byte."""
    return sealed(
        with_metadata(data, {CARD_KEY: card.model_dump_json(), PROOF_KEY: read_metadata(data)[PROOF_KEY]})
    )


def check_seal(data: bytes, *, source: str) -> str:
    """Return the digest of a sealed file, or raise SealError. Parses nothing."""
    head = data[-_DIGITS - len(SEAL_HEAD) : -_DIGITS]
    if head != SEAL_HEAD:
        raise SealError(f"{source}: not a Weft bundle, or cut short; export it again with `weft export`")
    found = hashlib.sha256(memoryview(data)[:-_DIGITS])
    found.update(b"0" * _DIGITS)
    if found.hexdigest().encode() != data[-_DIGITS:]:
        raise SealError(f"{source}: the content does not match its seal; copy or export the bundle again")
    return data[-_DIGITS:].decode()


def load_bundle(
    path: Path, *, task: Task | None = None, threads: int = 0, engine: EngineChoice = NATIVE
) -> Bundle:
    """Read and verify a bundle: seal, then card, then graph, then proof.

    Args:
        path: The bundle's file.
        task: Refuse a bundle of another task.
        threads: For one call; 0 takes all cores that this process may use.
        engine: What computes the graph; `auto` takes the fastest that the card admits and that runs here.

    Raises:
        BundleError: The file cannot be read, or one of SealError, CardError, WrongTaskError, EngineError,
            ProofError.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror}); name a bundle file") from error
    return open_bundle(data, source=str(path), task=task, threads=threads, engine=engine)


def open_bundle(
    data: bytes, *, source: str, task: Task | None = None, threads: int = 0, engine: EngineChoice = NATIVE
) -> Bundle:
    """Like `load_bundle`, from bytes in memory."""
    sha256, card, cases = read_bundle(data, source=source)
    if task is not None and card.task != task:
        raise WrongTaskError(
            f"{source}: a bundle for {card.task}, needed one for {task}; name the other file"
        )
    name = _admitted(card, engine, source=source)
    bundle = Bundle(
        engine=start_engine(name, data, threads=threads, source=source),
        card=card,
        sha256=sha256,
        source=source,
    )
    _check_outputs(bundle)
    prove(bundle, cases)
    give_back()
    return bundle


def read_bundle(data: bytes, *, source: str) -> tuple[str, Card, list[tuple[Arrays, Arrays]]]:
    """Seal, card and proof of a bundle whose seal holds; the graph is not looked at."""
    sha256 = check_seal(data, source=source)
    try:
        metadata = read_metadata(data)
    except ValueError as error:
        raise BundleError(f"{source}: the graph cannot be loaded ({error}); export it again") from error
    if CARD_KEY not in metadata or PROOF_KEY not in metadata:
        raise CardError(f"{source}: card or proof is missing; export it again with `weft export`")
    try:
        card = read_card(metadata[CARD_KEY])
    except CardError as error:
        raise CardError(f"{source}: {error}") from error
    return sha256, card, unpack_proof(metadata[PROOF_KEY], source=source)


def _admitted(card: Card, choice: EngineChoice, *, source: str) -> EngineName:
    """The engine to start; EngineError where the card has no bound for it."""
    if choice == "auto":
        for name in _FASTEST_FIRST:
            if card.proof.engines.get(name) is not None and fits_here(name):
                return name
        return NATIVE
    if choice != NATIVE and card.proof.engines.get(choice) is None:
        if card.task != "weight":
            raise EngineError(f"{source}: {ONLY_WEIGHT}; this one is for {card.task}, use {NATIVE}")
        given = source if source.endswith(".onnx") else "BUNDLE.onnx"  # what was sent has no path
        raise EngineError(
            f"{source}: its card has no bound for {choice}; measure one with "
            f"`weft admit {given} --engine {choice} --out NEW.onnx`, or use {NATIVE}"
        )
    return choice


def gaps(task: Task, expected: Arrays, found: Arrays) -> dict[str, float]:
    """Largest difference between two answers, by output: relative for grams, else absolute; inf for a NaN."""
    worst: dict[str, float] = {}
    for name, want in expected.items():
        difference = np.abs(np.asarray(found[name], np.float64) - want)
        if task == "weight" and name.endswith("grams"):
            difference = difference / np.maximum(np.abs(want), 1e-9)
        worst[name] = float(np.nan_to_num(difference, nan=np.inf).max()) if difference.size else 0.0
    return worst


def gap(task: Task, expected: Arrays, found: Arrays) -> float:
    """The largest of `gaps`."""
    return max(gaps(task, expected, found).values(), default=0.0)


def _check_outputs(bundle: Bundle) -> None:
    """Raise CardError unless the graph gives what its task promises: a request is too late to notice."""
    given = [name for name, _, _ in bundle.outputs()]
    section = bundle.card.weight
    judges = section is not None and len(section.advice) > 0
    absent = (OUTPUTS[bundle.card.task] | ({"faults"} if judges else frozenset())) - set(given)
    if absent:
        raise CardError(
            f"{bundle.source}: the graph gives {', '.join(given)}, "
            f"{', '.join(sorted(absent))} is missing for {bundle.card.task}; export it again"
        )


def prove(bundle: Bundle, cases: list[tuple[Arrays, Arrays]]) -> None:
    """Run the proof on this machine's engine.

    Raises:
        ProofError: It answers differently from the trained model, or cannot take the proof's inputs.
        CardError: The graph answers for another number of fibres than the card names.
    """
    for number, (inputs, expected) in enumerate(cases, start=1):
        try:
            answer = bundle.run(inputs)
            found = gaps(bundle.card.task, expected, answer)
        except Exception as error:  # engines raise bare exceptions of several private types
            raise ProofError(
                f"{bundle.source}: proof {number} does not fit the graph ({type(error).__name__}); "
                "export it again"
            ) from error
        _check_widths(bundle, answer)
        for name, far in found.items():
            bound = bundle.bound(name)
            if far > bound:
                raise ProofError(
                    f"{bundle.source}: proof {number} differs by {far:.2g} ({name}) from the trained model, "
                    f"bound is {bound:.2g} for {bundle.engine}; export it for this engine"
                )


def _check_widths(bundle: Bundle, answer: Arrays) -> None:
    """Raise CardError where the card names more or fewer fibres or faults than the graph answers for."""
    card = bundle.card
    section = card.composition or card.belt
    if section is not None and answer["shares"].shape[-1] != len(section.fibres):
        raise CardError(
            f"{bundle.source}: the graph answers for {answer['shares'].shape[-1]} fibres, the card names "
            f"{len(section.fibres)}; export it again"
        )
    words = () if card.weight is None else card.weight.advice
    if words and answer["faults"].shape[-1] != len(words):
        raise CardError(
            f"{bundle.source}: the graph judges {answer['faults'].shape[-1]} faults, the card names "
            f"{len(words)}; export it again"
        )


def pack_proof(cases: list[tuple[Arrays, Arrays]]) -> str:
    """Inputs and the trained model's answers, as base64 of an npz: `i{case}.{name}` and `o{case}.{name}`."""
    arrays: dict[str, NDArray[Any]] = {}
    for number, (inputs, outputs) in enumerate(cases[:PROOF_CASES]):
        arrays |= {f"i{number}.{name}": np.asarray(value) for name, value in inputs.items()}
        arrays |= {f"o{number}.{name}": np.asarray(value) for name, value in outputs.items()}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)  # pyright: ignore[reportArgumentType]
    return base64.b64encode(buffer.getvalue()).decode()


def unpack_proof(text: str, *, source: str) -> list[tuple[Arrays, Arrays]]:
    """The reverse of `pack_proof`."""
    try:
        with np.load(io.BytesIO(base64.b64decode(text, validate=True)), allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise ProofError(f"{source}: the proof cannot be read; export the bundle again") from error
    cases: list[tuple[Arrays, Arrays]] = []
    for number in range(PROOF_CASES):
        given, expected = (_named(arrays, f"{side}{number}.") for side in "io")
        if given and expected:
            cases.append((given, expected))
    if not cases:
        raise ProofError(f"{source}: the proof is empty; export the bundle again")
    return cases


def _named(arrays: Arrays, prefix: str) -> dict[str, NDArray[Any]]:
    return {key.removeprefix(prefix): value for key, value in arrays.items() if key.startswith(prefix)}
