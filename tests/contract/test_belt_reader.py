from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from weft.bundle import load_bundle
from weft.card import VoteCard
from weft.cli import main
from weft.errors import CardError, LineDescriptionError, WrongTaskError
from weft.line.description import NirCamera
from weft.line.reader import BeltReader, ballot, part_of

RULES = VoteCard(fewest_pixels=4, stray_distance=0.2, part_distance=0.3, part_separation=3.5, part_share=0.15)
COTTON, WOOL, POLYESTER, NYLON = range(4)


@pytest.fixture(scope="module")
def reader(tiny_belt_bundle: Path) -> BeltReader:
    return BeltReader(load_bundle(tiny_belt_bundle, task="belt"))


def pixels(count: int, spread: float = 0.02, **shares: float) -> NDArray[np.float32]:
    """(count, 4) shares about `shares`, of cotton, wool, polyester and nylon, as noisy as `spread`."""
    names = ("cotton", "wool", "polyester", "nylon")
    mean = np.array([shares.get(name, 0.0) for name in names])
    noisy = np.clip(mean + np.random.default_rng(count).normal(0, spread, (count, 4)), 0, None)
    return (noisy / noisy.sum(1, keepdims=True)).astype(np.float32)


def sure(shares: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.zeros(len(shares), np.float32)


def test_a_pixels_shares_sum_to_one_and_no_light_is_no_error(reader: BeltReader) -> None:
    bands = len(reader.wavelength_nm)
    light = np.random.default_rng(1).uniform(0.1, 0.9, (50, bands)).astype(np.float32)
    light[0], light[1] = 0.0, -0.2

    found = reader.read(light)

    assert found.shares.shape == (50, len(reader.fibres))
    np.testing.assert_allclose(found.shares.sum(1), 1, atol=1e-5)
    assert ((found.unknown >= 0) & (found.unknown <= 1)).all()


def test_no_pixels_give_no_answers(reader: BeltReader) -> None:
    found = reader.read(np.empty((0, len(reader.wavelength_nm)), np.float32))

    assert found.shares.shape == (0, 4)
    assert found.unknown.shape == (0,)


def test_pixels_of_other_bands_are_a_slip_of_the_caller(reader: BeltReader) -> None:
    with pytest.raises(ValueError, match=r"reflectance is \(5, 7\), needed \(P, 31\)"):
        reader.read(np.ones((5, 7), np.float32))


def test_a_camera_with_other_bands_is_refused_before_the_line_runs(reader: BeltReader) -> None:
    need = reader.wavelength_nm
    reader.check_axis(need + 0.01)

    with pytest.raises(LineDescriptionError, match=r"camera has 8 bands, 935-1720 nm; .* reads 31 bands"):
        reader.check_axis(np.linspace(935, 1720, 8))
    with pytest.raises(LineDescriptionError, match="train a bundle for this camera"):
        reader.check_axis(need + 0.5 * (need[1] - need[0]))


def test_the_bundled_belt_reads_the_camera_of_the_demo_line() -> None:
    from weft.bundle import BUNDLED

    camera = NirCamera(
        position_mm=0,
        field_of_view_mm=1000,
        pixels=160,
        first_nm=935,
        last_nm=1720,
        bands=224,
        lines_per_s=160,
    )
    bundle = load_bundle(BUNDLED / "belt.onnx", task="belt")

    BeltReader(bundle).check_axis(camera.wavelength_nm)
    assert bundle.card.trained_on == "simulated"
    assert bundle.card.coverage == 0.9


def test_a_belt_bundle_is_refused_where_scans_are_identified_and_the_reverse(
    tiny_belt_bundle: Path, tiny_fibre_bundle: Path
) -> None:
    with pytest.raises(WrongTaskError, match="a bundle for belt, needed one for composition"):
        load_bundle(tiny_belt_bundle, task="composition")
    with pytest.raises(WrongTaskError, match="a bundle for composition, needed one for belt"):
        BeltReader(load_bundle(tiny_fibre_bundle))


def test_identify_refuses_a_belt_bundle_in_one_line(tiny_belt_bundle: Path, tmp_path: Path) -> None:
    scan = tmp_path / "scan.csv"
    scan.write_text("\n".join(f"{nm},{0.5}" for nm in range(900, 1701, 10)))

    done = CliRunner().invoke(
        main,
        [
            "identify",
            str(scan),
            "--unit",
            "nm",
            "--quantity",
            "reflectance",
            "--bundle",
            str(tiny_belt_bundle),
        ],
    )

    assert done.exit_code == 1
    assert "a bundle for belt, needed one for composition" in done.output


def test_inspect_tells_a_belts_vote_and_not_its_whole_trial(
    write_belt_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    rows = [[0.25] * 4] * 30
    trial = {
        "predicted": rows,
        "truth": rows,
        "scatter": [0.0] * 30,
        "unknown": [0.0] * 30,
        "mixed": [False] * 30,
    }
    path = write_belt_bundle(tmp_path / "belt.onnx", belt={"trial": trial})

    done = CliRunner().invoke(main, ["inspect", str(path)])

    assert done.exit_code == 0
    assert "30 pieces" in done.output
    assert "0.25, 0.25" not in done.output
    assert "stray distance 0.2" in done.output


def test_zips_and_buttons_have_no_vote() -> None:
    shares = np.concatenate([pixels(90, cotton=1.0), pixels(10, nylon=1.0)])
    unknown = np.concatenate([np.zeros(90), np.ones(10)]).astype(np.float32)

    found = ballot(shares, unknown, rules=RULES, threshold=0.5)

    assert found.shares[COTTON] > 0.95
    assert found.voted <= 90
    assert found.unknown == pytest.approx(0.1)
    assert not found.mixed


def test_a_label_of_another_fibre_has_no_vote() -> None:
    shares = np.concatenate([pixels(95, cotton=1.0), pixels(5, polyester=1.0)])

    found = ballot(shares, sure(shares), rules=RULES, threshold=0.5)

    assert found.shares[POLYESTER] < 0.02
    assert found.voted == 95
    assert not found.mixed


def test_two_panels_of_different_fibres_are_mixed_and_both_are_counted() -> None:
    shares = np.concatenate([pixels(60, cotton=1.0), pixels(40, polyester=1.0)])

    found = ballot(shares, sure(shares), rules=RULES, threshold=0.5)

    assert found.mixed
    assert found.shares[COTTON] == pytest.approx(0.6, abs=0.03)
    assert found.voted == 100


def test_a_blend_is_not_mixed_however_noisy_its_pixels_are() -> None:
    for spread in (0.02, 0.1, 0.25):
        shares = pixels(400, spread=spread, cotton=0.5, polyester=0.5)

        assert not ballot(shares, sure(shares), rules=RULES, threshold=0.5).mixed


def test_the_smaller_part_is_the_one_that_is_pointed_at() -> None:
    shares = np.concatenate([pixels(70, wool=1.0), pixels(30, nylon=0.8, wool=0.2)])

    found = part_of(shares, RULES)

    assert found is not None
    np.testing.assert_array_equal(np.flatnonzero(found), np.arange(70, 100))


def test_a_pixel_without_a_number_has_no_vote_and_counts_as_no_textile() -> None:
    shares = pixels(20, cotton=1.0)
    shares[:5] = np.nan

    found = ballot(shares, sure(shares), rules=RULES, threshold=0.5)

    assert found.shares[COTTON] > 0.95
    assert found.voted == 15
    assert found.unknown == pytest.approx(0.25)


def test_what_is_no_textile_gets_no_composition(reader: BeltReader) -> None:
    shares = pixels(50, cotton=1.0)

    found = reader.vote(shares, np.full(50, 0.9, np.float32))

    assert found.shares == ()
    assert found.voted == 0
    assert found.unknown == pytest.approx(0.9)
    assert reader.vote(shares[:0], np.empty(0, np.float32)).unknown == 1.0
    assert reader.vote(shares[:3], sure(shares[:3])).shares == ()


def test_shares_come_largest_first_with_the_bundles_margins(reader: BeltReader) -> None:
    shares = pixels(200, spread=0.0, wool=0.7, nylon=0.3)

    found = reader.vote(shares, sure(shares))

    assert [item.fibre for item in found.shares][:2] == ["wool", "nylon"]
    assert found.shares[0].share == pytest.approx(0.7, abs=1e-4)
    assert (found.shares[0].low, found.shares[0].high) == pytest.approx((0.6, 0.8), abs=1e-4)


def test_without_margins_every_share_is_possible(
    write_belt_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    path = write_belt_bundle(
        tmp_path / "belt.onnx",
        coverage=None,
        belt={"vote": RULES.model_dump(mode="json")},
    )
    shares = pixels(20, cotton=1.0)

    found = BeltReader(load_bundle(path)).vote(shares, sure(shares))

    assert {(item.low, item.high) for item in found.shares} == {(0.0, 1.0)}


def test_pieces_whose_pixels_scatter_have_wider_margins(
    write_belt_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    rules: dict[str, Any] = RULES.model_dump(mode="json") | {
        "edges_scatter": [[0.05], []],
        "margin": [[[0.02]] * 4, [[0.3]] * 4, [[0.1]] * 4],
    }
    reader = BeltReader(load_bundle(write_belt_bundle(tmp_path / "belt.onnx", belt={"vote": rules})))
    tidy, noisy = (
        pixels(300, spread=0.01, cotton=0.6, wool=0.4),
        pixels(300, spread=0.15, cotton=0.6, wool=0.4),
    )

    widths = []
    for shares in (tidy, noisy):
        first = reader.vote(shares, sure(shares)).shares[0]
        widths.append(first.high - first.low)

    assert widths == pytest.approx([0.04, 0.6], abs=1e-6)


def test_margins_of_too_few_kinds_of_answer_are_refused(
    write_belt_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    rules: dict[str, Any] = RULES.model_dump(mode="json") | {
        "edges_scatter": [[0.05], []],
        "margin": [[[0.1]] * 4] * 2,
    }
    path = write_belt_bundle(tmp_path / "belt.onnx", belt={"vote": rules})

    with pytest.raises(CardError, match="margin must hold 3 kinds of answer, got 2"):
        load_bundle(path)


def test_a_margin_for_another_number_of_fibres_is_refused(
    write_belt_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    rules: dict[str, Any] = RULES.model_dump(mode="json") | {"margin": [[[0.1]] * 3] * 2}
    path = write_belt_bundle(tmp_path / "belt.onnx", belt={"vote": rules})

    with pytest.raises(CardError, match=r"vote\.margin must hold 4 fibres by 1 bands"):
        load_bundle(path)


def test_a_graph_for_another_number_of_fibres_is_refused(
    write_belt_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    names = ["cotton", "wool", "polyester", "nylon", "silk"]
    path = write_belt_bundle(
        tmp_path / "belt.onnx",
        belt={
            "fibres": names,
            "share_range": {name: [0.0, 1.0] for name in names},
            "vote": RULES.model_dump(mode="json"),
        },
    )

    with pytest.raises(CardError, match="answers for 4 fibres, the card names 5"):
        load_bundle(path)


def test_a_large_piece_is_told_from_a_part_of_its_pixels() -> None:
    shares = pixels(60_000, spread=0.1, cotton=0.6, polyester=0.4)

    found = ballot(shares, sure(shares), rules=RULES, threshold=0.5)

    np.testing.assert_allclose(found.shares, shares.mean(0), atol=0.01)
    assert found.voted > 50_000


def test_the_trial_has_the_margins_that_a_vote_would_have(
    write_belt_bundle: Callable[..., Path], tmp_path: Path
) -> None:
    trial = {
        "predicted": [[0.95, 0.05, 0, 0], [0.4, 0.6, 0, 0]],
        "truth": [[1, 0, 0, 0], [0, 0, 0, 0]],
        "scatter": [0.01, 0.2],
        "unknown": [0.0, 0.8],
        "mixed": [False, True],
        "grams": [150.0, 90.0],
    }
    path = write_belt_bundle(tmp_path / "belt.onnx", belt={"trial": trial})

    found = BeltReader(load_bundle(path)).trial

    assert found is not None
    np.testing.assert_allclose(found.low[0], [0.85, 0, 0, 0], atol=1e-9)
    np.testing.assert_allclose(found.high[0], [1, 0.15, 0.1, 0.1], atol=1e-9)
    assert found.known.tolist() == [True, False]
    assert found.grams is not None


def test_columns_of_a_trial_are_equally_long(write_belt_bundle: Callable[..., Path], tmp_path: Path) -> None:
    trial = {
        "predicted": [[1, 0, 0, 0]],
        "truth": [[1, 0, 0, 0]],
        "scatter": [0],
        "unknown": [],
        "mixed": [False],
    }
    path = write_belt_bundle(tmp_path / "belt.onnx", belt={"trial": trial})

    with pytest.raises(CardError, match="the columns of the trial differ in length"):
        load_bundle(path)
