"""Photos to kilograms over HTTP."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import pytest
from starlette.testclient import TestClient

from weft.marks import MarkHint
from weft_serving.circumstances import Circumstances

Jpeg = Callable[..., bytes]
Photos = Callable[..., Any]


def estimate(client: TestClient, files: Any, **fields: str) -> dict[str, Any]:
    reply = client.post("/v1/estimates", files=files, data=fields)
    assert reply.status_code == 200, reply.text
    return reply.json()


def test_a_photo_comes_back_as_grams_with_an_interval_that_holds_them(
    client: TestClient, jpeg: Jpeg, photos: Photos
) -> None:
    answer = estimate(client, photos(jpeg()))

    assert set(answer) == {
        "id", "grams", "low_grams", "high_grams", "coverage", "photos", "warnings", "weighing", "bundle",
    }  # fmt: skip
    assert answer["low_grams"] <= answer["grams"] <= answer["high_grams"]
    assert answer["coverage"] == 0.9
    assert answer["photos"] == [{"usable": True, "advice": [], "mark": None}]
    assert answer["weighing"] is None
    assert set(answer["bundle"]) == {"name", "version", "sha256", "trained_on"}
    assert answer["bundle"]["trained_on"] == "simulated"


def test_season_and_wrap_reach_the_model(client: TestClient, jpeg: Jpeg, photos: Photos) -> None:
    plain = estimate(client, photos(jpeg()))
    dressed = estimate(client, photos(jpeg()), season="winter", wrap="loose")

    # the tiny bundle adds 50 g a season and 5 g a wrap
    assert dressed["grams"] - plain["grams"] == pytest.approx(2 * 50 + 3 * 5, abs=0.11)


def test_a_bundle_without_an_honest_interval_answers_null_for_it(
    start: Callable[..., TestClient], write_weight_bundle: Any, tmp_path: Path, jpeg: Jpeg, photos: Photos
) -> None:
    bare = write_weight_bundle(tmp_path / "bare.onnx", coverage=None, calibration_subjects=0)

    answer = estimate(start(weight=bare), photos(jpeg()))

    assert answer["grams"] > 0
    assert [answer[name] for name in ("low_grams", "high_grams", "coverage")] == [None, None, None]


def test_where_no_photo_is_usable_the_three_weights_are_null(
    client: TestClient, jpeg: Jpeg, photos: Photos
) -> None:
    answer = estimate(client, photos(jpeg(height=20, width=20)))

    assert [answer[name] for name in ("grams", "low_grams", "high_grams")] == [None, None, None]
    assert answer["photos"][0]["usable"] is False
    assert "too_small" in answer["photos"][0]["advice"]


def test_a_broken_photo_among_good_ones_is_advised_against_and_the_others_are_weighed(
    client: TestClient, jpeg: Jpeg, photos: Photos
) -> None:
    alone = estimate(client, photos(jpeg()))
    answer = estimate(client, photos(jpeg(), jpeg()[:300]))

    assert answer["grams"] == alone["grams"]
    assert [photo["advice"] for photo in answer["photos"]] == [[], ["broken"]]


def test_photos_sent_one_a_call_weigh_like_photos_sent_together(
    client: TestClient, jpeg: Jpeg, photos: Photos
) -> None:
    together = estimate(client, photos(jpeg(1), jpeg(2), jpeg(3)), season="summer")
    first = estimate(client, photos(jpeg(1)), season="summer")
    for seed in (2, 3):
        reply = client.post(f"/v1/estimates/{first['id']}/photos", files=photos(jpeg(seed)))
        assert reply.status_code == 200, reply.text

    found = client.get(f"/v1/estimates/{first['id']}").json()
    assert found["grams"] == together["grams"]
    assert len(found["photos"]) == 3
    assert found == reply.json()


def test_photos_added_at_the_same_moment_are_all_counted(
    client: TestClient, jpeg: Jpeg, photos: Photos
) -> None:
    made = estimate(client, photos(jpeg(0)))
    with ThreadPoolExecutor(4) as crew:
        replies = list(
            crew.map(
                lambda seed: client.post(f"/v1/estimates/{made['id']}/photos", files=photos(jpeg(seed))),
                range(1, 7),
            )
        )

    assert [reply.status_code for reply in replies] == [200] * 6
    assert len(client.get(f"/v1/estimates/{made['id']}").json()["photos"]) == 7


def test_a_weighing_that_comes_while_a_photo_is_added_stays(
    client: TestClient, jpeg: Jpeg, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    where = f"/v1/estimates/{estimate(client, photos(jpeg(0)))['id']}"
    weigher: Any = client.app.state.service.models.weight.weigher
    weigh = weigher.weigh

    def weigh_while_the_scale_speaks(*photos: Any, **known: Any) -> Any:
        assert client.post(f"{where}/weighing", json={"grams": 500}).status_code == 200
        return weigh(*photos, **known)

    monkeypatch.setattr(weigher, "weigh", weigh_while_the_scale_speaks)
    added = client.post(f"{where}/photos", files=photos(jpeg(1))).json()

    assert len(added["photos"]) == 2
    assert added["weighing"]["grams"] == 500
    assert client.get(where).json() == added


def test_a_bad_added_photo_is_refused_and_the_estimate_stays(
    client: TestClient, jpeg: Jpeg, photos: Photos
) -> None:
    made = estimate(client, photos(jpeg()))

    reply = client.post(f"/v1/estimates/{made['id']}/photos", files=photos(b"no image"))

    assert reply.status_code == 415
    assert client.get(f"/v1/estimates/{made['id']}").json() == made


def test_the_tenth_photo_is_refused_in_both_ways(client: TestClient, jpeg: Jpeg, photos: Photos) -> None:
    small = [jpeg(seed, height=120, width=160) for seed in range(10)]
    together = client.post("/v1/estimates", files=photos(*small))
    nine = estimate(client, photos(*small[:9]))
    added = client.post(f"/v1/estimates/{nine['id']}/photos", files=photos(small[9]))

    assert together.status_code == 422
    assert "`photos` takes at most 9 file(s)" in together.json()["detail"]
    assert added.status_code == 422
    assert {reply.json()["type"] for reply in (together, added)} == {"/problems/wrong-photos"}
    assert "9 photos already" in added.json()["detail"]


def test_earlier_photos_are_forgotten_and_the_refusal_says_what_to_do(
    start: Callable[..., TestClient], jpeg: Jpeg, photos: Photos
) -> None:
    client = start(recent_seconds=0)
    made = estimate(client, photos(jpeg()))

    reply = client.post(f"/v1/estimates/{made['id']}/photos", files=photos(jpeg(1)))

    assert reply.status_code == 410
    assert reply.json()["type"] == "/problems/photos-gone"
    assert "send all photos anew" in reply.json()["detail"]


def test_remembered_pixels_are_bounded_in_bytes_and_the_oldest_go_first(
    start: Callable[..., TestClient], jpeg: Jpeg, photos: Photos
) -> None:
    client = start(recent_bytes=500_000)
    made = [estimate(client, photos(jpeg(seed)))["id"] for seed in range(4)]

    codes = [
        client.post(f"/v1/estimates/{name}/photos", files=photos(jpeg(height=120, width=160))).status_code
        for name in (made[0], made[-1])
    ]
    assert codes == [410, 200]


def test_kept_photos_let_one_be_added_after_a_restart(
    start: Callable[..., TestClient], tmp_path: Path, jpeg: Jpeg, photos: Photos
) -> None:
    first = estimate(start(keep_photos=tmp_path / "kept"), photos(jpeg(), b"broken"))
    restarted = start(keep_photos=tmp_path / "kept")

    reply = restarted.post(f"/v1/estimates/{first['id']}/photos", files=photos(jpeg(1)))

    assert reply.status_code == 200, reply.text
    assert [photo["advice"] for photo in reply.json()["photos"]] == [[], ["broken"], []]


def test_the_scales_word_is_stored_beside_the_estimate_and_the_last_one_is_shown(
    client: TestClient, jpeg: Jpeg, photos: Photos
) -> None:
    made = estimate(client, photos(jpeg()), parcel="B-17")
    for grams in (1200, 1234.5):
        reply = client.post(f"/v1/estimates/{made['id']}/weighing", json={"grams": grams})
        assert reply.status_code == 200, reply.text

    found = client.get(f"/v1/estimates/{made['id']}").json()
    assert found["weighing"]["grams"] == 1234.5
    assert found["weighing"]["weighed_at"].endswith("Z")
    assert found["grams"] == made["grams"]


@pytest.mark.parametrize(
    "body",
    [
        *(
            f'{{"grams": {grams}}}'
            for grams in ("-1", "0", "1e-320", "NaN", "true", '"12"', "1e12", "9" * 5000)
        ),
        "{}",
        "[]",
        "",
        "{",
    ],
)
def test_an_impossible_weighing_is_refused(client: TestClient, jpeg: Jpeg, photos: Photos, body: str) -> None:
    made = estimate(client, photos(jpeg()))
    reply = client.post(
        f"/v1/estimates/{made['id']}/weighing", content=body, headers={"content-type": "application/json"}
    )

    assert reply.status_code == 422
    assert 'send {"grams": 1234}, at least 0.1 and at most' in reply.json()["detail"]
    assert client.get(f"/v1/estimates/{made['id']}").json()["weighing"] is None


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"mark": "disc"}, "`mark` and `mark_mm` belong together"),
        ({"mark_mm": "25"}, "`mark` and `mark_mm` belong together"),
        ({"mark": "coin", "mark_mm": "25"}, "mark: Input should be 'qr', 'disc', 'sheet' or 'ruler'"),
        ({"mark": "disc", "mark_mm": "nan"}, "mark_mm"),
        ({"mark": "disc", "mark_mm": "-3"}, "mark_mm"),
        ({"season": "spring"}, "season"),
        ({"wrap": "sack"}, "wrap"),
        ({"parcel": "x" * 65}, "parcel"),
        ({"parcel": "a\x01b"}, "parcel: a control character is in it"),
        ({"seasn": "summer"}, "no field 'seasn' here; known: photos, mark"),
    ],
)
def test_a_field_that_cannot_be_right_is_named(
    client: TestClient, jpeg: Jpeg, photos: Photos, fields: dict[str, str], words: str
) -> None:
    reply = client.post("/v1/estimates", files=photos(jpeg()), data=fields)

    assert reply.status_code == 422
    assert words in reply.json()["detail"]


def test_fields_left_empty_by_a_form_count_as_not_sent(
    client: TestClient, jpeg: Jpeg, photos: Photos
) -> None:
    assert estimate(client, photos(jpeg()), season="", parcel="", mark="", mark_mm="")["grams"] > 0


@pytest.mark.parametrize("call", ["get", "photos", "weighing"])
def test_an_unknown_id_is_a_404_that_says_where_ids_come_from(
    client: TestClient, jpeg: Jpeg, photos: Photos, call: str
) -> None:
    where = "/v1/estimates/nothing"
    reply = {
        "get": lambda: client.get(where),
        "photos": lambda: client.post(f"{where}/photos", files=photos(jpeg())),
        "weighing": lambda: client.post(f"{where}/weighing", json={"grams": 1}),
    }[call]()

    assert reply.status_code == 404
    assert "use the `id` of an answer" in reply.json()["detail"]


def test_the_mark_in_the_photo_comes_back_in_pixels_of_the_upright_original(
    client: TestClient, photos: Photos
) -> None:
    segno = pytest.importorskip("segno")
    import io

    import numpy as np
    from PIL import Image

    label = np.array(segno.make("WEFT", error="m").matrix, np.uint8)
    side = 8 * len(label)
    scene = np.full((900, 1200, 3), 190, np.uint8)
    scene += np.random.default_rng(0).integers(0, 25, scene.shape, dtype=np.uint8)
    white = scene[200 : 200 + side + 64, 300 : 300 + side + 64]
    white[:] = 255
    white[32:-32, 32:-32] = np.where(label[..., None] == 1, 0, 255).repeat(8, 0).repeat(8, 1)
    buffer = io.BytesIO()
    image = Image.fromarray(scene)
    image = image.transpose(Image.Transpose.ROTATE_90)  # stored lying, told upright by EXIF
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(buffer, "JPEG", quality=92, exif=exif)

    answer = estimate(client, photos(buffer.getvalue()), mark="qr", mark_mm="60")

    mark = answer["photos"][0]["mark"]
    assert mark["kind"] == "qr"
    assert mark["tilt_degrees"] < 10
    assert mark["mm_per_pixel"] == pytest.approx(60 / side, rel=0.05)
    xs, ys = zip(*mark["corners"], strict=True)
    assert min(xs) == pytest.approx(332, abs=6)
    assert min(ys) == pytest.approx(232, abs=6)


@pytest.mark.parametrize(("mark", "usual_mm"), [("sheet", 297.0), ("ruler", 250.0)])
def test_a_print_of_usual_size_needs_no_size(
    client: TestClient, jpeg: Jpeg, photos: Photos, mark: Literal["sheet", "ruler"], usual_mm: float
) -> None:
    assert estimate(client, photos(jpeg()), mark=mark)["photos"][0]["mark"] is None
    assert Circumstances.model_validate({"mark": mark}).hint() == MarkHint(mark, usual_mm)
    assert Circumstances.model_validate({"mark": mark, "mark_mm": 210}).hint() == MarkHint(mark, 210)
