"""The final net of a run -> one sealed ONNX file that answers like it, or a refusal."""

import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from torch.export import Dim

from weft.bundle import CARD_KEY, PROOF_CASES, PROOF_KEY, gap, open_bundle, pack_proof, repacked, sealed
from weft.card import Card, FibreCard, PhotoCard, Proof, WeightCard
from weft.errors import RunError
from weft_training.admit import admit_what_fits
from weft_training.advice import learn_advice
from weft_training.belt_export import prepare_belt
from weft_training.belt_task import BeltTask
from weft_training.calibrate import calibrate_weight
from weft_training.calibrate_shares import calibrate_shares
from weft_training.data import load_captures
from weft_training.familiarity import shift_of
from weft_training.fibre_net import FibreGraph
from weft_training.fibre_task import FibreTask
from weft_training.fit import load_net, make_task
from weft_training.pair_export import made_pairs, pair_axes, pair_graph, photo_card
from weft_training.pair_task import PairTask
from weft_training.prepared import CASES, Inputs, Prepared, scan_axes
from weft_training.proof_inputs import made_photos, made_scans
from weft_training.recipe import dump_recipe
from weft_training.run import Run, write_atomically
from weft_training.weighing_graph import WeighingGraph
from weft_training.weight_task import WeightTask


@dataclass(frozen=True, slots=True)
class ExportReport:
    path: Path
    card: Card
    sha256: str


def export_run(run: Run, out: Path) -> ExportReport:
    """Write the run's final net, with the intervals of its out-of-fold predictions, to `out`.

    Raises:
        RunError: The run is not finished, or ONNX Runtime and torch differ beyond the recipe's bound.
    """
    predictions = run.predictions()
    captures = load_captures(run.recipe)
    facts = run.facts()
    if captures.fingerprint != facts["dataset_fingerprint"]:
        raise RunError(f"{run.folder}: the data have changed since the training; put them back to export it")
    task = make_task(run.recipe, captures)
    task.prepare(quiet=True)
    run.check_frozen(task.frozen_digest())
    fold = _stored_fold(run)
    net = load_net(run, task, fold)
    real = _real_inputs(task, seed=run.recipe.seed)
    if isinstance(task, WeightTask):
        prepared = _prepare_weight(task, net, predictions, real)
    elif isinstance(task, BeltTask):
        prepared = prepare_belt(task, net, predictions, real)
    else:
        assert isinstance(task, FibreTask)
        prepared = _prepare_composition(task, net, predictions, real)
    model = to_onnx(prepared)
    cases = compare(model, prepared, bound=run.recipe.export.bound, task=run.recipe.task)
    proof = Proof(
        engine="onnxruntime", bound=run.recipe.export.bound, measured=cases.worst, cases=cases.compared
    )
    card = _card(run, facts, prepared, proof)
    data = pack(model, card, cases.travelling)
    bundle = open_bundle(
        data, source=str(out), task=run.recipe.task
    )  # what a server will do: seal, card, proof
    admitted = admit_what_fits(data, bundle, [*prepared.made, *prepared.real])
    if admitted != card:
        card, data = admitted, repacked(data, admitted)
        bundle = open_bundle(data, source=str(out), task=run.recipe.task)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, data)
    return ExportReport(out, card, bundle.sha256)


def to_onnx(prepared: Prepared) -> onnx.ModelProto:
    """Export with every axis dynamic that a caller may vary."""
    arguments = tuple(torch.from_numpy(np.array(value)) for value in prepared.example.values())
    with warnings.catch_warnings():
        # The exporter warns about its own insides (deprecated calls, shared axis names): nothing to act on.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            prepared.graph.eval(),
            arguments,
            input_names=list(prepared.example),
            output_names=prepared.outputs,
            dynamic_shapes=prepared.dynamic,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None, "a dynamo export returns its program"
    model = program.model_proto
    _forget_where_it_was_made(model)
    return model


@dataclass(frozen=True, eq=False)
class Comparison:
    worst: float
    compared: int
    travelling: list[tuple[Inputs, Inputs]]


def compare(model: onnx.ModelProto, prepared: Prepared, *, bound: float, task: Any) -> Comparison:
    """Ask ONNX Runtime and torch the same; RunError where they differ beyond `bound` on any input."""
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = prepared.outputs
    takes = {item.name for item in session.get_inputs()}
    worst, travelling = 0.0, []
    cases = [*prepared.made, *prepared.real]
    for number, inputs in enumerate(cases):
        with torch.no_grad():
            answer = prepared.graph(*(torch.from_numpy(np.array(value)) for value in inputs.values()))
        expected = {name: value.numpy() for name, value in zip(names, answer, strict=True)}
        fed = {name: value for name, value in inputs.items() if name in takes}
        found = dict(zip(names, session.run(names, fed), strict=True))
        worst = max(worst, gap(task, expected, found))
        if number < PROOF_CASES:
            travelling.append((inputs, expected))
    if not worst <= bound:
        raise RunError(
            f"ONNX Runtime and torch differ by {worst:.2g} on {len(cases)} inputs, the bound is {bound:.2g} "
            f"({'relative' if task == 'weight' else 'absolute'}); look for an unstable layer, or state a "
            f"wider export.bound"
        )
    return Comparison(worst, len(cases), travelling)


def pack(model: onnx.ModelProto, card: Card, proof: list[tuple[Inputs, Inputs]]) -> bytes:
    """Graph, card, proof and seal in one."""
    onnx.helper.set_model_props(model, {CARD_KEY: card.model_dump_json(), PROOF_KEY: pack_proof(proof)})
    return sealed(model.SerializeToString())


def _prepare_weight(task: WeightTask, net: Any, predictions: Any, real: list[Inputs]) -> Prepared:
    recipe = task.recipe
    found = calibrate_weight(predictions, recipe.calibrate.coverage)
    judge, advice = learn_advice(recipe, net.stem)
    if found is None:
        graph = WeighingGraph(net, judge=judge)
    else:
        graph = WeighingGraph(net, edges_grams=found.edges_grams, log_margin=found.log_margin, judge=judge)
    made = made_photos(CASES // 2, bands=len(recipe.model.bands), seed=recipe.seed)
    batch, count = Dim("batch", max=4096), Dim("photos_of_one", max=64)
    height, width = Dim("height", max=65535), Dim("width", max=65535)
    return Prepared(
        graph=graph,
        outputs=graph.outputs,
        example=made[0],
        dynamic={
            "photos": {0: batch, 1: count, 3: height, 4: width},
            "size": {0: batch, 1: count},
            "mask": {0: batch, 1: count},
            "mm_per_pixel": {0: batch, 1: count},
            "mark_at": {0: batch, 1: count},
            "season": {0: batch},
            "wrap": {0: batch},
        },
        made=made,
        real=real,
        card={
            "task": "weight",
            "coverage": None if found is None else recipe.calibrate.coverage,
            "calibration_subjects": 0 if found is None else found.subjects,
            "weight": WeightCard(
                bands=recipe.model.bands,
                max_photos=recipe.data.max_photos,
                decode_px=recipe.data.decode_px,
                input_px=recipe.model.input_px,
                range_grams=(float(task.grams.min()), float(task.grams.max())),
                uses=task.uses(),
                mark=task.shelf.mark_seen(),
                advice=advice,
                shift=shift_of(
                    predictions,
                    false_alarms=recipe.calibrate.unfamiliar_false_alarms,
                    # Whoever photographs a real thing would be refused by a model of simulated ones.
                    then=recipe.calibrate.unfamiliar
                    or ("widen" if task.captures.trained_on == "simulated" else "refuse"),
                ),
            ),
        },
    )


def _prepare_composition(task: FibreTask, net: Any, predictions: Any, real: list[Inputs]) -> Prepared:
    recipe = task.recipe
    if isinstance(task, PairTask):
        graph, found = pair_graph(task, net, predictions)
        photo, dynamic = photo_card(task, net), pair_axes()
        made = made_pairs(grid_nm=task.grid_nm, seed=recipe.seed)
    else:
        found = calibrate_shares(predictions, recipe.data.fibres, recipe.calibrate.coverage)
        edges, margin = ((), None) if found is None else (found.edges_share, found.margin)
        graph, photo = FibreGraph(net, edges_share=edges, margin=margin), None
        dynamic = scan_axes()
        made = made_scans(CASES // 2, grid_nm=task.grid_nm, seed=recipe.seed)
    return Prepared(
        graph=graph,
        outputs=["shares", "low", "high", "unknown"],
        example=made[0],
        dynamic=dynamic,
        made=made,
        real=real,
        card={
            "task": "composition",
            "coverage": None if found is None else recipe.calibrate.coverage,
            "calibration_subjects": 0 if found is None else found.subjects,
            "composition": _fibre_card(task, photo),
        },
    )


def _fibre_card(task: FibreTask, photo: PhotoCard | None) -> FibreCard:
    fibres = task.recipe.data.fibres
    known = task.shares[task.shares[:, -1] < 0.5][:, :-1].numpy()
    instruments = sorted({str(name) for name in task.captures.column("instrument").dropna()})
    return FibreCard(
        fibres=fibres,
        grid_nm=tuple(task.grid_nm),
        needed_nm=task.needed_nm,
        share_range={
            fibre: (float(known[:, index].min()), float(known[:, index].max()))
            for index, fibre in enumerate(fibres)
        },
        instruments=tuple(instruments),
        photo=photo,
    )


def _card(run: Run, facts: dict[str, Any], prepared: Prepared, proof: Proof) -> Card:
    export = run.recipe.export
    return Card(
        name=export.name,
        version=export.version,
        trained_on=facts["trained_on"],
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        code_revision=facts["code_revision"],
        dataset_fingerprint=facts["dataset_fingerprint"],
        dataset=export.dataset,
        recipe=dump_recipe(run.recipe),
        licence_notes=export.licence_notes,
        subjects=facts["subjects"],
        metrics=run.metrics(),
        limits=export.limits,
        proof=proof,
        **prepared.card,
    )


def _real_inputs(task: Any, *, seed: int) -> list[Inputs]:
    """Up to half of the compared inputs, one a subject in turn; they are asked and then forgotten."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(task.captures))[: CASES // 2]
    return [task.graph_inputs(rows[at : at + 1]) for at in range(len(rows))]


def _stored_fold(run: Run) -> NDArray[np.int64]:
    import pandas as pd

    return pd.read_parquet(run.folder / "split.parquet")["fold"].to_numpy(np.int64)


def _forget_where_it_was_made(model: onnx.ModelProto) -> None:
    """Take off the source files and stack traces that the exporter notes at every node: nobody's business."""
    del model.metadata_props[:]
    model.doc_string = ""
    for part in (model.graph, *model.functions):
        del part.metadata_props[:]
        part.doc_string = ""
        for node in part.node:
            del node.metadata_props[:]
            node.doc_string = ""
    for value in (*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        del value.metadata_props[:]
