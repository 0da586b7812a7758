"""Lines inside the service: their files, their state and rules over HTTP, and what outlives a restart."""

import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.testclient import TestClient

from weft.bundle import load_bundle
from weft.errors import LineDescriptionError, LineReferenceError, RuleError
from weft.line.reader import BeltReader
from weft_serving.app import create_app
from weft_serving.line.lines import Lines, find_files, open_lines
from weft_serving.line.see.reference_folder import ReferenceFolder
from weft_serving.settings import Settings
from weft_serving.store import Store, open_store

from .conftest import LANES, LINE, START, Plant

Serve = Callable[..., TestClient]
OTHER = LANES.replace("cotton >= 50 %", "cotton >= 60 %")


def line_file(folder: Path, name: str = "small", lanes: str = LANES, **changes: Any) -> Path:
    written = {"line": LINE | {"name": name} | changes, "lanes": yaml.safe_load(lanes)}
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(written))
    return folder / f"{name}.yaml"


@pytest.fixture
def serve(
    tiny_weight_bundle: Path, tiny_fibre_bundle: Path, tiny_belt_bundle: Path, tmp_path: Path
) -> Iterator[Serve]:
    """Start a service with the lines of a file or folder; called again, it is a restart."""
    with ExitStack() as running:

        def started(lines: Path, **settings: Any) -> TestClient:
            running.close()
            database = f"sqlite:///{tmp_path}/weft.db"
            made = Settings(lines=lines, database_url=database, outbox=tmp_path / "outbox", **settings)
            store = open_store(database)
            app = create_app(
                made,
                weight=load_bundle(tiny_weight_bundle),
                fibre=load_bundle(tiny_fibre_bundle),
                store=store,
                lines=open_lines(made, store, load_bundle(tiny_belt_bundle, threads=1)),
            )
            return running.enter_context(TestClient(app, raise_server_exceptions=False))

        yield started


def lines_of(client: TestClient) -> Lines:
    return client.app.state.sorting_lines  # type: ignore[attr-defined]


def test_each_line_of_a_folder_is_served_and_told_apart(serve: Serve, tmp_path: Path) -> None:
    line_file(tmp_path, "one")
    line_file(tmp_path, "two")
    client = serve(tmp_path)

    assert [state["line"] for state in client.get("/v1/lines").json()["lines"]] == ["one", "two"]
    state = client.get("/v1/lines/two").json()
    assert (state["line"], state["pieces"], state["running"]) == ("two", 0, False)
    assert state["trained_on"] == "simulated"
    missing = client.get("/v1/lines/three")
    assert missing.status_code == 404
    assert "no line is called 'three'; in service: one, two" in missing.json()["detail"]
    assert client.get("/lines/one").status_code == 200
    assert client.get("/readyz").status_code == 200


def test_without_lines_the_service_says_how_to_start_one(client: TestClient) -> None:
    assert client.get("/v1/lines").json() == {"lines": []}
    assert "start the service with --lines FILE" in client.get("/v1/lines/demo").json()["detail"]


def test_rules_change_while_it_runs_and_old_versions_can_be_read(serve: Serve, tmp_path: Path) -> None:
    client = serve(line_file(tmp_path))
    first = client.get("/v1/lines/small/rules").json()
    assert first["in_force"]
    assert "take: cotton >= 50 %" in first["text"]

    changed = client.put("/v1/lines/small/rules", content=OTHER, params={"who": "shift lead"})

    assert changed.status_code == 200
    assert changed.json()["version"] != first["version"]
    assert client.get("/v1/lines/small/rules").json() == changed.json()
    assert client.get("/v1/lines/small").json()["rules_version"] == changed.json()["version"]
    old = client.get("/v1/lines/small/rules", params={"version": first["version"]}).json()
    assert (old["text"], old["in_force"]) == (first["text"], False)
    assert client.get("/v1/lines/small/rules", params={"version": "0123456789"}).status_code == 404


def test_prometheus_is_told_how_each_line_stands(serve: Serve, tmp_path: Path) -> None:
    told = serve(line_file(tmp_path)).get("/metrics").text

    assert 'weft_line_pieces_total{lane="cotton",line="small"} 0.0' in told
    assert 'weft_line_outcomes_total{lane="cotton",line="small",outcome="late"} 0.0' in told
    assert 'weft_line_alarm{code="reference-missing",line="small"} 1.0' in told


def test_rules_may_be_json_or_the_whole_file(serve: Serve, tmp_path: Path) -> None:
    path = line_file(tmp_path)
    client = serve(path)
    version = client.get("/v1/lines/small/rules").json()["version"]

    assert client.put("/v1/lines/small/rules", content=path.read_text()).json()["version"] == version
    assert client.put("/v1/lines/small/rules", json=yaml.safe_load(LANES)).json()["version"] == version


def test_rules_that_cannot_be_decided_by_are_refused_with_all_that_is_wrong(
    serve: Serve, tmp_path: Path
) -> None:
    client = serve(line_file(tmp_path))
    before = client.get("/v1/lines/small/rules").json()
    wrong = LANES.replace("take: cotton", "take: cottn").replace("ejector: e2", "ejector: e9")

    refused = client.put("/v1/lines/small/rules", content=wrong)

    assert refused.status_code == 422
    assert refused.json()["type"] == "/problems/bad-rules"
    assert "cottn" in refused.json()["detail"]
    assert "e9" in refused.json()["detail"]
    assert client.get("/v1/lines/small/rules").json() == before
    alarms = client.get("/v1/lines/small").json()["alarms"]
    assert [alarm["code"] for alarm in alarms if "cottn" in alarm["cause"]] == ["bad-rules"]
    assert client.put("/v1/lines/small/rules", content=b"\xff\xfe").json()["type"] == "/problems/bad-request"
    assert client.put("/v1/lines/other/rules", content=LANES).status_code == 404


def test_a_token_guards_the_rules_where_one_is_set(serve: Serve, tmp_path: Path) -> None:
    client = serve(line_file(tmp_path), line_token="long and secret")

    for header in ({}, {"Authorization": "Bearer long"}, {"Authorization": "Basic long and secret"}):
        refused = client.put("/v1/lines/small/rules", content=OTHER, headers=header)
        assert refused.status_code == 401
        assert refused.headers["www-authenticate"] == "Bearer"
        assert "send `Authorization: Bearer TOKEN`" in refused.json()["detail"]
    right = {"Authorization": "Bearer long and secret"}
    assert client.put("/v1/lines/small/rules", content=OTHER, headers=right).status_code == 200
    assert client.get("/v1/lines/small/rules").status_code == 200


def test_changed_rules_outlive_a_restart_until_someone_edits_the_file(serve: Serve, tmp_path: Path) -> None:
    path = line_file(tmp_path)
    changed = serve(path).put("/v1/lines/small/rules", content=OTHER).json()["version"]

    assert serve(path).get("/v1/lines/small/rules").json()["version"] == changed
    edited = line_file(tmp_path, lanes=LANES.replace("cotton >= 50 %", "cotton >= 70 %"))
    assert "cotton >= 70 %" in serve(edited).get("/v1/lines/small/rules").json()["text"]


def test_rules_that_cannot_be_kept_are_not_used(
    serve: Serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = serve(line_file(tmp_path))
    before = client.get("/v1/lines/small/rules").json()
    monkeypatch.setattr(Store, "writing", _no_room)

    refused = client.put("/v1/lines/small/rules", content=OTHER)

    assert refused.status_code == 503
    assert refused.headers["retry-after"]
    assert client.get("/v1/lines/small/rules").json() == before


def _no_room(_: Store) -> Any:
    from weft.errors import StoreError

    raise StoreError("the database failed (disk full); check that it is up and has room")


def test_garments_are_stored_and_numbered_on_after_a_restart(
    serve: Serve, tmp_path: Path, reader: BeltReader
) -> None:
    path = line_file(tmp_path)
    for last in (2, 4):
        client = serve(path)
        plant = Plant(reader)
        plant.lay("cotton", 240)
        plant.lay("wool", 440)
        engine = lines_of(client).engines["small"]
        for sensor, level in (("white", 1.0), ("dark", 0.0)):
            engine.take(plant.reference(sensor, level))
        for _ in range(35):
            engine.take(plant.frame())
            time.sleep(0.015)
        until = time.monotonic() + 10
        while engine.state().pieces < 2 and time.monotonic() < until:
            time.sleep(0.05)
        assert engine.state().pieces == 2
        archive = lines_of(client).archive
        while len(archive.latest("small", most=9)) < last and time.monotonic() < until:
            time.sleep(0.05)
        stored = sorted(decision.piece.number for decision in archive.latest("small", most=9))
        assert stored == list(range(1, last + 1))


def test_what_is_wrong_with_a_lines_file_is_told_before_the_port_answers(
    serve: Serve, tmp_path: Path
) -> None:
    with pytest.raises(LineDescriptionError, match="no line's YAML file is there"):
        serve(tmp_path)
    with pytest.raises(RuleError, match=r"small\.yaml: .*cottn"):
        serve(line_file(tmp_path, lanes=LANES.replace("take: cotton", "take: cottn")))
    camera = LINE["nir"] | {"wavelength_nm": [float(nm) for nm in range(930, 1305, 25)]}
    with pytest.raises(LineDescriptionError, match=re.escape("small.yaml: the camera has 15 bands")):
        serve(line_file(tmp_path, nir=camera))
    twice = tmp_path / "twice"
    twice.mkdir()
    line_file(twice)
    (twice / "again.yml").write_text((twice / "small.yaml").read_text())
    assert len(find_files(twice)) == 2
    with pytest.raises(LineDescriptionError, match="two lines are called 'small'"):
        serve(twice)


def write_references(folder: Path, plant: Plant, white: float = 1.0) -> None:
    for name, level in (("white", white), ("dark", 0.0)):
        lines = plant.camera.plain(level).transpose(0, 2, 1)
        header = (
            f"ENVI\nsamples = {lines.shape[2]}\nlines = {lines.shape[0]}\nbands = {lines.shape[1]}\n"
            "data type = 12\ninterleave = bil\nbyte order = 0\n"
        )
        (folder / f"{name}.raw").write_bytes(lines.tobytes())
        (folder / f"{name}.hdr").write_text(header)


def test_references_are_read_from_their_folder_and_again_when_they_have_changed(
    reader: BeltReader, tmp_path: Path
) -> None:
    plant = Plant(reader)
    folder = ReferenceFolder(tmp_path, plant.description.nir, max_age_s=3600)
    with pytest.raises(LineReferenceError, match="no white reference can be read"):
        folder.news()
    assert folder.news() is None  # told once

    write_references(tmp_path, plant)
    assert folder.news() is None  # they may still be written
    made = folder.news()
    assert made is not None
    assert made.gain.shape == (60, 31)
    assert folder.news() is None


def test_a_line_with_a_reference_folder_waits_for_them_and_sorts_when_they_come(
    reader: BeltReader, tmp_path: Path
) -> None:
    plant = Plant(reader, given=False, **{"references": {"folder": str(tmp_path), "max_age_s": 1e9}})
    assert "no white reference can be read" in plant.told_now("reference-missing")
    write_references(tmp_path, plant)
    for file in tmp_path.iterdir():
        os.utime(file, times=(START.timestamp(), START.timestamp()))  # by the plant's clock, not by ours
    plant.run(2_500)
    plant.lay("cotton", 40)
    plant.run(300)

    assert plant.told.outcomes == [("cotton", "fired")]
    assert len(plant.told.ended("reference-missing")) == 1
    plant.engine.close()
