"""What computes a bundle's graph: ONNX Runtime, unless another is asked for that the bundle's card admits.

An engine answers a little differently from the trained model, a 16-bit one more so: by how much is measured
(`weft admit`), written on the card and checked at every load (`weft.bundle.prove`). Figures: docs/engines.md.
"""

from collections import deque
from collections.abc import Mapping
from typing import Any, Final, Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from weft.cores import usable_cores
from weft.engine_names import NATIVE, EngineName
from weft.errors import BundleError, EngineError
from weft.onnx_file import graph_names

Arrays = Mapping[str, NDArray[Any]]
Port = tuple[str, str, list[Any]]  # name, element type as ONNX Runtime writes it, shape

# Leading axes that are 1 where one photo of one thing is asked about, by input.
_OF_ONE: Final = {"photos": 2, "size": 2, "mask": 2, "mm_per_pixel": 2, "mark_at": 2, "season": 1, "wrap": 1}
# First convolutions that stay in float32 where the rest is computed in bfloat16, as does the resize before
# them: 8 bits round its places to whole pixels, and grams move by 9 % in the middle instead of by 2 %.
_PRECISE: Final = 3
_TYPES: Final = {"f32": "float", "i64": "int64", "u8": "uint8", "boolean": "bool"}


class Engine(Protocol):
    """A loaded graph; safe to call from several threads."""

    @property
    def name(self) -> EngineName: ...

    def inputs(self) -> list[Port]:
        """Of the graph, without those that no layer reads."""
        ...

    def outputs(self) -> list[Port]: ...

    def run(self, inputs: Arrays, *, large: bool) -> dict[str, NDArray[Any]]:
        """All outputs by name, for exactly the inputs of `inputs()`.

        Args:
            large: Give working memory back afterwards: such a call is rare, and needs much.
        """
        ...


def start_engine(name: EngineName, model: bytes, *, threads: int, source: str) -> Engine:
    """Load a serialised ONNX model.

    Args:
        threads: For one call; 0 takes all cores that this process may use.

    Raises:
        BundleError: The graph cannot be loaded.
        EngineError: The engine is not installed, or needs another CPU.
    """
    threads = threads or usable_cores()
    if name == NATIVE:
        return OnnxRuntime(model, threads=threads, source=source)
    return OpenVino(model, bf16=name == "openvino-bf16", threads=threads, source=source)


def fits_here(name: EngineName) -> bool:
    """Whether it is installed, and this CPU has what it needs."""
    try:
        if name != NATIVE:
            _openvino(name)
    except EngineError:
        return False
    return True


def measured_on(name: EngineName) -> str:
    """The engine's version and the CPU it runs on: what a bound was measured with."""
    if name == NATIVE:
        return f"onnxruntime {ort.__version__}"
    core, version = _openvino(name)
    return f"openvino {version} on {core.get_property('CPU', 'FULL_DEVICE_NAME').strip()}"


class OnnxRuntime:
    """The engine that bundles are exported for."""

    name: EngineName = NATIVE

    def __init__(self, model: bytes, *, threads: int, source: str) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # A plan of one block for a shape saves no time here (10.1 ms either way) and holds 10 MB more.
        options.enable_mem_pattern = False
        # A server may hold many idle threads; spinning ones would take the cores from decoding.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self._session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises bare exceptions of several private types
            raise BundleError(f"{source}: the graph cannot be loaded ({error}); export it again") from error
        # It keeps the file's 10 MB for a change of providers, which never happens here.
        self._session._model_bytes = None  # pyright: ignore[reportPrivateUsage]
        # The arena keeps what the largest call needed, for ever: 50 MB after a proof of six photos.
        self._shrinking = ort.RunOptions()
        self._shrinking.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        self._names = [item.name for item in self._session.get_outputs()]

    def inputs(self) -> list[Port]:
        return [(item.name, item.type, list(item.shape)) for item in self._session.get_inputs()]

    def outputs(self) -> list[Port]:
        return [(item.name, item.type, list(item.shape)) for item in self._session.get_outputs()]

    def run(self, inputs: Arrays, *, large: bool) -> dict[str, NDArray[Any]]:
        found = self._session.run(self._names, dict(inputs), self._shrinking if large else None)
        return {name: np.asarray(value) for name, value in zip(self._names, found, strict=True)}


class OpenVino:
    """Intel's engine, on any x86-64 or ARM CPU. In bfloat16 it takes less work where the CPU knows it.

    One photo of one thing, the usual question, gets a graph of its own: with B and N known, shapes behind the
    resize are constants and 1.3 of 6.6 ms are saved. It costs 45 MB.
    """

    def __init__(self, model: bytes, *, bf16: bool, threads: int, source: str) -> None:
        self.name: EngineName = "openvino-bf16" if bf16 else "openvino"
        core, _ = _openvino(self.name)
        precision = "bf16" if bf16 else "f32"
        streams = max(1, usable_cores() // threads)  # calls at once; more would wait for each other
        settings = {
            "INFERENCE_NUM_THREADS": threads * streams,
            "NUM_STREAMS": streams,
            "ENABLE_CPU_PINNING": False,  # decoding shares these cores
        }
        try:
            graph = core.read_model(model=model)
            names = [name for side in graph_names(model) for name in side]
            self._inputs = [_port(item, names) for item in graph.inputs]
            self._outputs = [_port(item, names) for item in graph.outputs]
            ports = [name for name, _, _ in self._inputs], [name for name, _, _ in self._outputs]

            def compiled(graph: Any) -> _Requests:
                parts = _cut_around_middle(graph) if bf16 else (graph,)
                precisions = ("f32", "bf16", "f32") if len(parts) > 1 else (precision,)
                made = [
                    core.compile_model(part, "CPU", settings | {"INFERENCE_PRECISION_HINT": each})
                    for part, each in zip(parts, precisions, strict=True)
                ]
                return _Requests(made, *ports)

            one = graph.clone() if "photos" in ports[0] else None
            self._any = compiled(graph)
            self._one: _Requests | None = None
            if one is not None:
                one.reshape({name: _of_one(name, sides) for name, _, sides in self._inputs})
                self._one = compiled(one)
        except RuntimeError as error:
            told = str(error).strip().splitlines()[-1]
            raise BundleError(
                f"{source}: {self.name} cannot load the graph ({told}); use onnxruntime"
            ) from error

    def inputs(self) -> list[Port]:
        return self._inputs

    def outputs(self) -> list[Port]:
        return self._outputs

    def run(self, inputs: Arrays, *, large: bool) -> dict[str, NDArray[Any]]:
        photos = inputs.get("photos")
        alone = self._one is not None and photos is not None and photos.shape[:2] == (1, 1)
        asked = self._one if alone and self._one is not None else self._any
        return asked.infer(inputs, forget=large)


class _Requests:
    """Requests of a compiled graph, each used by one thread at a time and then again.

    Args:
        parts: The graph, or what it was cut into; each part takes inputs and what the part before made.
        inputs, outputs: Names of the whole graph's.
    """

    def __init__(self, parts: list[Any], inputs: list[str], outputs: list[str]) -> None:
        self._parts = parts
        self._takes = [[_known_as(item, inputs) for item in part.inputs] for part in parts]
        self._outputs = outputs
        self._idle: deque[list[Any]] = deque()  # append and pop are atomic

    def infer(self, inputs: Arrays, *, forget: bool) -> dict[str, NDArray[Any]]:
        try:
            requests = self._idle.pop()
        except IndexError:
            requests = [part.create_infer_request() for part in self._parts]
        made: tuple[Any, ...] = ()
        for request, takes in zip(requests, self._takes, strict=True):
            before = iter(made)
            fed = [next(before) if name is None else inputs[name] for name in takes]
            # What the last part says is copied: its request is used again.
            made = request.infer(fed, share_inputs=True, share_outputs=request is not requests[-1]).to_tuple()
        answer = dict(zip(self._outputs, map(np.asarray, made), strict=True))
        if not forget:
            self._idle.append(requests)
        return answer


def _cut_around_middle(graph: Any) -> tuple[Any, ...]:
    """A graph in three: its `_PRECISE` first convolutions, on to the last one, and what is made of that.

    What a part makes are inputs of the next one, in order, behind those of the graph; the last has all of the
    graph's outputs. Whole again where there are too few convolutions for cuts to be worth it.
    """
    import openvino
    from openvino import opset13

    order = graph.get_ordered_ops()
    convolutions = [node for node in order if node.get_type_name().endswith("Convolution")]
    if len(convolutions) < 2 * _PRECISE:
        return (graph,)
    middle = _downstream(order, [convolutions[_PRECISE]]) & _upstream(order, convolutions)
    varying = _downstream(order, graph.get_parameters())
    made: tuple[list[Any], list[Any]] = [], []  # of what goes into the middle, and what comes out of it
    taken: tuple[list[Any], list[Any]] = [], []
    for node in order:
        name = node.get_friendly_name()
        if name not in varying or node.get_type_name() == "Parameter":
            continue
        inside = name in middle
        for output in node.outputs():
            ends = [
                end
                for end in output.get_target_inputs()
                if (end.get_node().get_friendly_name() in middle) is not inside
            ]
            # Sides and counts, as whole numbers, are computed again, or are constants there.
            if ends and output.get_element_type().is_real():
                cut = opset13.parameter(output.get_partial_shape(), output.get_element_type())
                for end in ends:
                    end.replace_source_output(cut.output(0))
                made[inside].append(opset13.result(output))
                taken[inside].append(cut)
    model: Any = openvino.Model  # its stub says of itself that it is no Model
    inputs = graph.get_parameters()
    return (
        model(made[0], inputs),
        model(made[1], inputs + taken[0]),
        model(graph.get_results(), inputs + taken[1]),
    )


def _downstream(order: list[Any], sources: list[Any]) -> set[str]:
    """Names of some nodes and of all that are computed from them."""
    found = {node.get_friendly_name() for node in sources}
    for node in order:
        if any(item.get_source_output().get_node().get_friendly_name() in found for item in node.inputs()):
            found.add(node.get_friendly_name())
    return found


def _upstream(order: list[Any], targets: list[Any]) -> set[str]:
    """Names of some nodes and of all that they are computed from."""
    found = {node.get_friendly_name() for node in targets}
    for node in reversed(order):
        if node.get_friendly_name() in found:
            found |= {item.get_source_output().get_node().get_friendly_name() for item in node.inputs()}
    return found


def _openvino(name: EngineName) -> tuple[Any, str]:
    """OpenVINO's core and version; EngineError where it is absent or the CPU lacks bfloat16."""
    try:
        import openvino
    except ImportError as error:
        raise EngineError(
            f"engine {name} is not installed; install weft[openvino], or use onnxruntime"
        ) from error
    core = openvino.Core()
    if name == "openvino-bf16" and "BF16" not in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        raise EngineError(
            "this CPU has no bfloat16 (avx512_bf16, amx_bf16 or ARM's bf16); use openvino or onnxruntime, "
            "or auto for the best that runs here"
        )
    return core, openvino.__version__.split("-")[0]


def _known_as(item: Any, names: list[str]) -> str | None:
    """The ONNX graph's name: OpenVINO may know a tensor by several. None: it is not one of `names`."""
    return next((name for name in names if name in item.get_names()), None)


def _port(item: Any, names: list[str]) -> Port:
    name = _known_as(item, names)
    assert name is not None, "the graph's own"
    kind = item.element_type.get_type_name()
    sides = [side.get_length() if side.is_static else None for side in item.partial_shape]
    return name, f"tensor({_TYPES.get(kind, kind)})", sides


def _of_one(name: str, sides: list[Any]) -> list[int]:
    leading = _OF_ONE.get(name, 0)
    return [1] * leading + [-1 if side is None else side for side in sides[leading:]]
