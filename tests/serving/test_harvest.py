"""Photos are kept only if the operator says so, without what the camera wrote; then they can be harvested."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from weft.errors import StoreError
from weft_serving import kept
from weft_serving.harvest import harvest_manifest

Jpeg = Callable[..., bytes]
Photos = Callable[..., Any]
SECRET = b"Kept-Secret-Camera-Owner"


def with_gps(jpeg: Jpeg) -> bytes:
    exif = Image.Exif()
    exif[0x010F] = SECRET.decode()
    exif[0x0112] = 6
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2], gps[3], gps[4] = "N", (52.0, 31.0, 12.0), "E", (13.0, 24.0, 36.0)
    return jpeg(exif=exif)


def weigh(client: TestClient, files: Any, grams: float | None, **fields: str) -> str:
    made = client.post("/v1/estimates", files=files, data=fields)
    assert made.status_code == 200, made.text
    name = made.json()["id"]
    if grams is not None:
        assert client.post(f"/v1/estimates/{name}/weighing", json={"grams": grams}).status_code == 200
    return name


def files_below(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_by_default_no_photo_reaches_the_disk(
    client: TestClient, tmp_path: Path, jpeg: Jpeg, photos: Photos
) -> None:
    weigh(client, photos(with_gps(jpeg)), 800)

    written = files_below(tmp_path)
    assert all(path.name.startswith("weft.db") for path in written)
    assert all(SECRET not in path.read_bytes() for path in written)


def test_kept_photos_are_upright_and_hold_no_exif(
    start: Callable[..., TestClient], tmp_path: Path, jpeg: Jpeg, photos: Photos
) -> None:
    original = with_gps(jpeg)
    assert SECRET in original
    name = weigh(start(keep_photos=tmp_path / "kept"), photos(original), 800)

    kept = files_below(tmp_path / "kept")
    assert [path.relative_to(tmp_path / "kept") for path in kept] == [Path(name) / "1.jpg"]
    assert all(SECRET not in path.read_bytes() for path in files_below(tmp_path))
    with Image.open(kept[0]) as image:
        assert dict(image.getexif()) == {}
        assert image.size == (480, 640)  # 640 x 480, turned upright


def test_harvest_writes_kept_weighed_estimates_as_a_manifest_that_training_reads(
    start: Callable[..., TestClient], database_url: str, tmp_path: Path, jpeg: Jpeg, photos: Photos
) -> None:
    manifests = pytest.importorskip("weft_datasets.manifest")
    client = start(database_url=database_url, keep_photos=tmp_path / "kept")
    first = weigh(client, photos(jpeg(1), b"broken", jpeg(2)), 800, parcel="B-1", mark="disc", mark_mm="25")
    client.post(f"/v1/estimates/{first}/weighing", json={"grams": 812.5})
    second = weigh(client, photos(jpeg(3)), 400, season="winter", wrap="bag")
    weigh(client, photos(jpeg(4)), None)

    report = harvest_manifest(database_url, tmp_path / "out" / "manifest.parquet")

    assert (report.captures, report.subjects, report.unweighed, report.unusable) == (3, 2, 1, 1)
    manifest = manifests.read_manifest(tmp_path / "out" / "manifest.parquet")
    assert manifest.kind == "photo"
    assert manifest.missing_files() == []
    assert manifest.notes["simulated"] is False
    frame = manifest.frame.set_index("capture")
    assert frame.loc[f"{first}-3", "subject"] == "B-1"
    assert frame.loc[f"{first}-3", "grams"] == 812.5
    assert frame.loc[f"{first}-1", "mark"] == "disc"
    assert frame.loc[f"{second}-1", "subject"] == second
    assert frame.loc[f"{second}-1", "season"] == "winter"
    assert len(manifest.fingerprint()) == 64


def test_moved_photos_are_found_where_the_operator_says(
    start: Callable[..., TestClient], tmp_path: Path, jpeg: Jpeg, photos: Photos
) -> None:
    weigh(start(keep_photos=tmp_path / "kept"), photos(jpeg()), 800)
    (tmp_path / "kept").rename(tmp_path / "archive")
    url = f"sqlite:///{tmp_path}/weft.db"

    with pytest.raises(StoreError, match="1 missing files"):
        harvest_manifest(url, tmp_path / "manifest.parquet")
    assert harvest_manifest(url, tmp_path / "manifest.parquet", photos=tmp_path / "archive").captures == 1


def test_nothing_to_harvest_says_what_is_missing(
    client: TestClient, tmp_path: Path, jpeg: Jpeg, photos: Photos
) -> None:
    weigh(client, photos(jpeg()), 800)

    with pytest.raises(StoreError, match="keep photos with WEFT_KEEP_PHOTOS"):
        harvest_manifest(f"sqlite:///{tmp_path}/weft.db", tmp_path / "manifest.parquet")
    assert not (tmp_path / "manifest.parquet").exists()


def test_an_estimate_that_cannot_be_stored_leaves_no_photo_behind(
    start: Callable[..., TestClient],
    tmp_path: Path,
    jpeg: Jpeg,
    photos: Photos,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = start(keep_photos=tmp_path / "kept")

    async def fail(*_: object) -> None:
        raise StoreError("the database failed (disk full); check that it is up and has room")

    monkeypatch.setattr(type(client.app.state.service.store.inserts), "add", fail)
    reply = client.post("/v1/estimates", files=photos(jpeg()))

    assert reply.status_code == 503
    assert "disk full" not in reply.text
    assert list((tmp_path / "kept").rglob("*")) == []


def test_a_photo_that_cannot_be_written_takes_the_ones_before_it_along(
    start: Callable[..., TestClient],
    tmp_path: Path,
    jpeg: Jpeg,
    photos: Photos,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    client = start(keep_photos=tmp_path / "kept")
    write = kept.write_file

    def full_at_the_second(path: Path, data: bytes) -> None:
        if ".2.jpg." in path.name:
            raise OSError(28, "No space left on device")
        write(path, data)

    monkeypatch.setattr(kept, "write_file", full_at_the_second)
    reply = client.post("/v1/estimates", files=photos(jpeg(1), jpeg(2)))

    assert reply.status_code == 503
    assert list((tmp_path / "kept").rglob("*")) == []


def test_a_folder_that_cannot_be_written_refuses_the_start(
    start: Callable[..., TestClient], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()

    with pytest.raises(StoreError, match="photos cannot be kept in"):
        start(keep_photos=tmp_path / "file" / "kept")
