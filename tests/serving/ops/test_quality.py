"""What the database says of the answers: coverage by the weighings that came in, and drift, of one bundle."""

import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from weft.bundle import Bundle, load_bundle
from weft.identifier import Identifier
from weft.weigher import Weigher
from weft_serving.bundles.models import FibreModel, Models, WeightModel
from weft_serving.ops.quality import read_quality
from weft_serving.store import Store, open_store
from weft_serving.tables import CompositionRow, EstimateRow, WeighingRow, now

SHIFT = {"strange_above": 1.5, "false_alarm_rate": 0.02, "then": "widen", "subjects": 30}
METRICS = {"alde": 0.25, "one.width_ratio": 2.0, "group.marked.1.width_ratio": 1.5}
GOOD = {"usable": True, "advice": [], "mark": None}
MARKED = GOOD | {"mark": {"kind": "qr"}}
STRANGE = GOOD | {"advice": ["unfamiliar"]}
DARK = {"usable": False, "advice": ["dark"], "mark": None}


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    opened = open_store(database_url)
    yield opened
    opened.close()


@pytest.fixture
def models(tmp_path: Path, write_weight_bundle: Callable[..., Path], tiny_fibre_bundle: Path) -> Models:
    path = write_weight_bundle(tmp_path / "w.onnx", weight={"shift": SHIFT}, metrics=METRICS)
    weight, fibre = load_bundle(path, task="weight"), load_bundle(tiny_fibre_bundle, task="composition")
    return Models(WeightModel(weight, Weigher(weight)), FibreModel(fibre, Identifier(fibre)))


def estimate(
    bundle: Bundle, *weighings: float, photos: tuple[Any, ...] = (GOOD,), **changes: Any
) -> EstimateRow:
    """An estimate of 800 to 1,600 grams, as it was weighed afterwards."""
    name = {"bundle_name": "w", "bundle_version": "1", "bundle_trained_on": "simulated"}
    told: dict[str, Any] = {
        "id": uuid.uuid4().hex,
        "grams": 1_000.0,
        "low_grams": 800.0,
        "high_grams": 1_600.0,
        "coverage": 0.9,
        "photos": list(photos),
        "warnings": [],
        "kept": [],
        "bundle_sha256": bundle.sha256,
    }
    rows = [WeighingRow(grams=grams, weighed_at=now()) for grams in weighings]
    return EstimateRow(**(told | name | changes), weighings=rows)


def keep(store: Store, *rows: EstimateRow | CompositionRow) -> None:
    with store.writing() as session:
        session.add_all(rows)


def test_coverage_is_told_by_group_once_enough_parcels_were_weighed(store: Store, models: Models) -> None:
    bundle = models.weight.bundle
    keep(store, *(estimate(bundle, 1_000) for _ in range(18)), *(estimate(bundle, 2_000) for _ in range(7)))
    keep(store, *(estimate(bundle, 1_000, photos=(MARKED, GOOD)) for _ in range(5)))
    keep(store, *(estimate(bundle) for _ in range(40)))  # nobody has weighed these

    whole, one, two = read_quality(store, models).coverage

    assert (whole.group, whole.subjects, whole.covered) == ("all", 30, pytest.approx(23 / 30))
    assert (one.group, one.subjects, one.covered, one.inside) == ("unmarked.1", 25, 0.72, False)
    assert one.alarm is False  # 18 of 25 happens
    assert (two.group, two.subjects, two.inside) == ("marked.2", 5, None)


def test_the_last_weighing_of_an_estimate_counts_and_a_parcel_counts_once(
    store: Store, models: Models
) -> None:
    bundle = models.weight.bundle
    keep(store, estimate(bundle, 2_000, 1_000, parcel="A7"), estimate(bundle, 3_000, parcel="A7"))
    keep(store, estimate(bundle, 1_000, parcel="B2"))

    whole, _ = read_quality(store, models).coverage

    assert (whole.subjects, whole.covered) == (2, 0.75)


def test_answers_of_another_bundle_say_nothing_of_this_one(store: Store, models: Models) -> None:
    keep(store, *(estimate(models.weight.bundle, 9_000, bundle_sha256="0" * 64) for _ in range(30)))

    found = read_quality(store, models)
    assert found.coverage == ()
    assert found.strangers is not None
    assert found.strangers.seen == 0


def test_an_estimate_without_an_interval_or_a_usable_photo_is_not_judged(
    store: Store, models: Models
) -> None:
    nothing = {"grams": None, "low_grams": None, "high_grams": None, "coverage": None}
    keep(store, estimate(models.weight.bundle, 900, photos=(DARK,), **nothing))

    found = read_quality(store, models)
    assert found.coverage == ()
    assert found.strangers is not None
    assert found.strangers.seen == 0  # the graph never saw a photo of it


def test_a_shift_of_what_comes_in_is_told(store: Store, models: Models) -> None:
    bundle = models.weight.bundle
    wide = {"low_grams": 200.0, "high_grams": 2_400.0}
    keep(store, *(estimate(bundle) for _ in range(30)))
    keep(store, *(estimate(bundle, photos=(DARK, STRANGE), **wide) for _ in range(40)))

    found = read_quality(store, models)
    assert found.strangers is not None
    assert (found.strangers.seen, found.strangers.share) == (70, pytest.approx(4 / 7))
    assert found.strangers.alarm
    assert found.width.times == pytest.approx(6.0)
    assert found.width.alarm


def test_widths_are_compared_with_those_of_the_group(store: Store, models: Models) -> None:
    keep(store, *(estimate(models.weight.bundle, photos=(MARKED,), high_grams=1_200.0) for _ in range(60)))

    width = read_quality(store, models).width
    assert (width.seen, width.times, width.alarm) == (60, pytest.approx(1.0), False)


def test_the_newest_scans_are_compared_with_those_before(store: Store, models: Models) -> None:
    def scan(age: int, unknown: float) -> CompositionRow:
        name = {"bundle_name": "f", "bundle_version": "1", "bundle_trained_on": "simulated"}
        return CompositionRow(
            id=uuid.uuid4().hex,
            created_at=now() - timedelta(seconds=age),
            shares=[],
            unknown=unknown,
            warnings=[],
            instrument=None,
            wavelength_nm=b"",
            absorbance=b"",
            bundle_sha256=models.fibre.bundle.sha256,
            **name,
        )

    keep(
        store,
        *(scan(1_000 + n, 0.1) for n in range(300)),
        *(scan(n, 0.9 if n < 20 else 0.1) for n in range(200)),
    )

    scans = read_quality(store, models).unknown_scans
    assert (scans.seen, scans.share, scans.expected) == (200, 0.1, 0.0)
    assert scans.alarm


def test_a_database_without_answers_is_judged_by_nobody(store: Store, models: Models) -> None:
    found = read_quality(store, models)

    assert found.coverage == ()
    assert found.width.times is None
    assert found.unknown_scans.chance is None
