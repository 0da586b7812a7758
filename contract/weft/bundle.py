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
import onnxruntime as ort
from numpy.typing import NDArray

from weft.card import Card, Task, read_card
from weft.errors import BundleError, CardError, ProofError, SealError, WrongTaskError

Arrays = Mapping[str, NDArray[Any]]

CARD_KEY: Final = "weft.card"
PROOF_KEY: Final = "weft.proof"
SEAL_KEY: Final = "weft.sha256"
PROOF_CASES: Final = 4
OUTPUTS: Final[Mapping[Task, frozenset[str]]] = {
    "weight": frozenset({"grams", "low_grams", "high_grams"}),
    "composition": frozenset({"shares", "low", "high", "unknown"}),
    "belt": frozenset({"shares", "unknown"}),
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

    def __init__(self, *, session: ort.InferenceSession, card: Card, sha256: str, source: str) -> None:
        self._session = session
        self.card = card
        self.sha256 = sha256
        self.source = source

    def run(self, inputs: Arrays) -> dict[str, NDArray[Any]]:
        """Run the graph; names, shapes and types are those of `docs/bundle.md`."""
        names = [output.name for output in self._session.get_outputs()]
        takes = {item.name for item in self._session.get_inputs()}  # without those that no layer reads
        fed = {name: value for name, value in inputs.items() if name in takes}
        found = [np.asarray(value) for value in self._session.run(names, fed)]
        return dict(zip(names, found, strict=True))

    def inputs(self) -> list[tuple[str, str, list[Any]]]:
        """Name, element type and shape of every graph input."""
        return [(item.name, item.type, list(item.shape)) for item in self._session.get_inputs()]

    def outputs(self) -> list[tuple[str, str, list[Any]]]:
        """Name, element type and shape of every graph output."""
        return [(item.name, item.type, list(item.shape)) for item in self._session.get_outputs()]


def sealed(model: bytes) -> bytes:
    """Append the seal to a serialised ONNX model."""
    zeroed = model + SEAL_HEAD + b"0" * _DIGITS
    return zeroed[:-_DIGITS] + hashlib.sha256(zeroed).hexdigest().encode()


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


def load_bundle(path: Path, *, task: Task | None = None, threads: int = 0) -> Bundle:
    """Read and verify a bundle: seal, then graph, then card, then proof.

    Args:
        path: The bundle's file.
        task: Refuse a bundle of another task.
        threads: ONNX Runtime threads for one call; 0 leaves the choice to it.

    Raises:
        BundleError: The file cannot be read, or one of SealError, CardError, WrongTaskError, ProofError.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BundleError(f"{path}: cannot be read ({error.strerror}); name a bundle file") from error
    return open_bundle(data, source=str(path), task=task, threads=threads)


def open_bundle(data: bytes, *, source: str, task: Task | None = None, threads: int = 0) -> Bundle:
    """Like `load_bundle`, from bytes in memory."""
    sha256 = check_seal(data, source=source)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    # A server may hold many idle threads; spinning ones would take the cores from decoding.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises bare exceptions of several private types
        raise BundleError(f"{source}: the graph cannot be loaded ({error}); export it again") from error
    metadata: dict[str, str] = session.get_modelmeta().custom_metadata_map
    if CARD_KEY not in metadata or PROOF_KEY not in metadata:
        raise CardError(f"{source}: card or proof is missing; export it again with `weft export`")
    try:
        card = read_card(metadata[CARD_KEY])
    except CardError as error:
        raise CardError(f"{source}: {error}") from error
    if task is not None and card.task != task:
        raise WrongTaskError(
            f"{source}: a bundle for {card.task}, needed one for {task}; name the other file"
        )
    bundle = Bundle(session=session, card=card, sha256=sha256, source=source)
    _check_outputs(bundle)
    prove(bundle, unpack_proof(metadata[PROOF_KEY], source=source))
    return bundle


def gap(task: Task, expected: Arrays, found: Arrays) -> float:
    """Largest difference between two answers: relative for grams, else absolute; infinite for a NaN."""
    worst = 0.0
    for name, want in expected.items():
        difference = np.abs(np.asarray(found[name], np.float64) - want)
        if task == "weight" and name.endswith("grams"):
            difference = difference / np.maximum(np.abs(want), 1e-9)
        if difference.size:
            worst = max(worst, float(np.nan_to_num(difference, nan=np.inf).max()))
    return worst


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
    bound = bundle.card.proof.bound
    section = bundle.card.composition or bundle.card.belt
    words = () if bundle.card.weight is None else bundle.card.weight.advice
    for number, (inputs, expected) in enumerate(cases, start=1):
        try:
            answer = bundle.run(inputs)
            found = gap(bundle.card.task, expected, answer)
        except Exception as error:  # onnxruntime raises bare exceptions of several private types
            raise ProofError(
                f"{bundle.source}: proof {number} does not fit the graph ({type(error).__name__}); "
                "export it again"
            ) from error
        if section is not None and answer["shares"].shape[-1] != len(section.fibres):
            raise CardError(
                f"{bundle.source}: the graph answers for {answer['shares'].shape[-1]} fibres, the card names "
                f"{len(section.fibres)}; export it again"
            )
        if words and answer["faults"].shape[-1] != len(words):
            raise CardError(
                f"{bundle.source}: the graph judges {answer['faults'].shape[-1]} faults, the card names "
                f"{len(words)}; export it again"
            )
        if found > bound:
            raise ProofError(
                f"{bundle.source}: proof {number} differs by {found:.2g} from the trained model, bound is "
                f"{bound:.2g}; export it for this engine"
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
