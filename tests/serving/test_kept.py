"""Kept photos in an object store that replicas share, and how long they are kept anywhere."""

import io
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from starlette.testclient import TestClient

from weft.errors import StoreError
from weft_serving import kept
from weft_serving.harvest import harvest_manifest
from weft_serving.kept import check_place, forget_photos, read_kept
from weft_serving.kept_lifetime import forget_old
from weft_serving.settings import read_settings
from weft_serving.tables import EstimateRow, now

Jpeg = Callable[..., bytes]
Photos = Callable[..., Any]
Start = Callable[..., TestClient]


@pytest.fixture(scope="module")
def object_store() -> Iterator[str]:
    """The URL of an S3 server of this process; the environment holds its address and keys."""
    pytest.importorskip("s3fs")
    moto = pytest.importorskip("moto.server", reason="moto[server] brings the S3 server of these tests")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test-secret")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(object_store: str) -> Iterator[str]:
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()  # of an earlier server
    name = f"weft-{uuid.uuid4().hex[:12]}"
    s3fs.S3FileSystem().mkdir(name)
    yield f"s3://{name}/photos"
    s3fs.S3FileSystem.clear_instance_cache()


def objects(bucket: str) -> list[str]:
    import s3fs

    return s3fs.S3FileSystem(use_listings_cache=False).find(bucket)


def weighed(client: TestClient, files: Any, **fields: str) -> str:
    made = client.post("/v1/estimates", files=files, data=fields)
    assert made.status_code == 200, made.text
    return made.json()["id"]


def test_a_photo_is_added_by_another_replica_through_the_object_store(
    start: Start, database_url: str, bucket: str, jpeg: Jpeg, photos: Photos
) -> None:
    one, other = (start(database_url=database_url, keep_photos=bucket) for _ in range(2))
    name = weighed(one, photos(jpeg(1), b"broken"))

    added = [
        client.post(f"/v1/estimates/{name}/photos", files=photos(jpeg(seed)))
        for seed, client in ((2, other), (3, one), (4, other))
    ]

    assert [reply.status_code for reply in added] == [200, 200, 200]
    assert [len(reply.json()["photos"]) for reply in added] == [3, 4, 5]
    alone = one.post("/v1/estimates", files=photos(*map(jpeg, (1, 2, 3, 4)))).json()
    # kept photos were encoded once more: brightness moves by a little
    assert added[-1].json()["grams"] == pytest.approx(alone["grams"], rel=0.01)


def test_what_is_stored_is_upright_and_without_the_cameras_words(
    start: Start, bucket: str, jpeg: Jpeg, photos: Photos
) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Kept-Secret-Camera-Owner"
    exif[0x0112] = 6
    name = weighed(start(keep_photos=bucket), photos(jpeg(exif=exif)))

    (path,) = objects(bucket)
    data = read_kept([f"s3://{path}"])
    assert path == f"{bucket.removeprefix('s3://')}/{name}/1.jpg"
    assert data is not None
    assert b"Secret" not in data[0]
    assert Image.open(io.BytesIO(data[0])).size == (480, 640)


def test_photos_are_encoded_anew_one_at_a_time(
    tmp_path: Path, jpeg: Jpeg, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, inside, seen = kept.decode_photo, [], []

    def slow(*args: Any, **options: Any) -> Any:
        inside.append(1)
        time.sleep(0.02)
        seen.append(len(inside))
        inside.pop()
        return decode(*args, **options)

    monkeypatch.setattr(kept, "decode_photo", slow)
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(lambda n: kept.keep_photos(str(tmp_path), f"{n}", [jpeg(n)], first=1), range(3)))

    assert seen == [1, 1, 1]
    assert len(list(tmp_path.glob("*/1.jpg"))) == 3


def test_two_photos_that_are_added_at_once_by_two_replicas_both_count(
    start: Start, tmp_path: Path, jpeg: Jpeg, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second replica adds its photo while the first one has read the row and not yet written it."""
    one, other = (start(keep_photos=tmp_path / "kept") for _ in range(2))
    name = weighed(one, photos(jpeg(1)))
    weigher = type(one.app.state.service.models.weight.weigher)  # type: ignore[attr-defined]
    weigh, calls = weigher.weigh, []

    def overtaken(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 1:
            assert other.post(f"/v1/estimates/{name}/photos", files=photos(jpeg(2))).status_code == 200
        return weigh(*args, **options)

    monkeypatch.setattr(weigher, "weigh", overtaken)
    reply = one.post(f"/v1/estimates/{name}/photos", files=photos(jpeg(3)))

    assert reply.status_code == 200, reply.text
    assert len(reply.json()["photos"]) == 3
    assert len(calls) == 3  # the one that was overtaken weighed again
    kept = sorted(path.name[:1] for path in (tmp_path / "kept" / name).iterdir())
    assert kept == ["1", "2", "3"]  # what the overtaken try had written is gone again


def test_harvest_fetches_photos_from_the_object_store_beside_the_manifest(
    start: Start, tmp_path: Path, bucket: str, jpeg: Jpeg, photos: Photos
) -> None:
    manifests = pytest.importorskip("weft_datasets.manifest")
    client = start(keep_photos=bucket)
    name = weighed(client, photos(jpeg(1), jpeg(2)))
    client.post(f"/v1/estimates/{name}/weighing", json={"grams": 800})

    report = harvest_manifest(f"sqlite:///{tmp_path}/weft.db", tmp_path / "out" / "bags.parquet")

    assert (report.captures, report.missing) == (2, 0)
    manifest = manifests.read_manifest(tmp_path / "out" / "bags.parquet")
    assert manifest.missing_files() == []
    assert list(manifest.frame["path"]) == [f"bags-photos/{name}/{number}.jpg" for number in (1, 2)]


def test_photos_are_removed_after_their_hours_and_the_estimate_stays(
    start: Start, bucket: str, tmp_path: Path, database_url: str, jpeg: Jpeg, photos: Photos
) -> None:
    for place in (bucket, str(tmp_path / "kept")):
        client = start(database_url=database_url, keep_photos=place)
        store = client.app.state.service.store  # type: ignore[attr-defined]
        old, new = (weighed(client, photos(jpeg(seed))) for seed in (1, 2))
        with store.writing() as session:
            session.get(EstimateRow, old).created_at = now() - timedelta(hours=25)

        assert forget_old(store, before=now() - timedelta(hours=24)) == 1
        assert forget_old(store, before=now() - timedelta(hours=24)) == 0

        assert client.get(f"/v1/estimates/{old}").status_code == 200
        with store.reading() as session:
            assert session.get(EstimateRow, old).kept == []
            assert read_kept(session.get(EstimateRow, new).kept) is not None
    assert [path.split("/")[-2] for path in objects(bucket)] != [old]
    assert [path.name for path in (tmp_path / "kept").iterdir()] == [new]


def test_the_service_removes_them_by_itself(start: Start, tmp_path: Path, jpeg: Jpeg, photos: Photos) -> None:
    client = start(keep_photos=tmp_path / "kept", keep_photos_hours=0.5 / 3600)
    weighed(client, photos(jpeg()))

    until = time.monotonic() + 30
    while list((tmp_path / "kept").iterdir()) and time.monotonic() < until:
        time.sleep(0.05)
    assert list((tmp_path / "kept").iterdir()) == []


def test_a_photo_that_is_gone_already_is_forgotten_without_complaint(bucket: str, tmp_path: Path) -> None:
    gone = [f"{bucket}/none/1.jpg", str(tmp_path / "none" / "1.jpg"), ""]

    forget_photos(gone)

    assert read_kept(gone[:1]) is None
    assert read_kept(gone[1:]) is None


def test_an_object_store_that_goes_away_is_a_503_and_loses_nothing_that_was_acknowledged(
    start: Start, bucket: str, jpeg: Jpeg, photos: Photos, monkeypatch: pytest.MonkeyPatch
) -> None:
    import s3fs

    client = start(keep_photos=bucket)
    name = weighed(client, photos(jpeg()))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    s3fs.S3FileSystem.clear_instance_cache()

    refused = client.post("/v1/estimates", files=photos(jpeg()))

    assert refused.status_code == 503
    assert refused.headers["retry-after"]
    assert "127.0.0.1:9" not in refused.text
    assert client.get(f"/v1/estimates/{name}").status_code == 200
    assert client.post(f"/v1/estimates/{name}/weighing", json={"grams": 500}).status_code == 200


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("ftp://host/photos", "kind 'ftp'; name a folder, s3://BUCKET/PREFIX"),
        ("s3://key:secret@bucket/photos", "keys and endpoint go into the environment"),
        ("s3://bucket/photos?key=secret", "keys and endpoint go into the environment"),
        ("s3:///", "names no bucket"),
        ("s3://no-such-bucket-of-weft/photos", "check the bucket, and the keys"),
    ],
)
def test_a_place_that_cannot_be_used_refuses_the_start(object_store: str, place: str, words: str) -> None:
    with pytest.raises(StoreError, match=words) as caught:
        check_place(place)

    assert "secret" not in str(caught.value)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)

    with pytest.raises(StoreError, match=r"install it: pip install 'weft\[s3\]'"):
        check_place("s3://bucket/photos")


def test_a_secret_may_stand_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("postgresql://weft:secret@db/weft\n")

    settings = read_settings({"WEFT_DATABASE_URL_FILE": str(tmp_path / "url")})

    assert settings.database_url == "postgresql://weft:secret@db/weft"


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"WEFT_LINE_TOKEN": "a", "WEFT_LINE_TOKEN_FILE": "b"}, "are both set; leave one of them out"),
        ({"WEFT_LINE_TOKEN_FILE": "none"}, "WEFT_LINE_TOKEN_FILE: none cannot be read"),
        ({"WEFT_LINE_TOKEN_FILE": "/dev/null"}, "is empty; write the value into it"),
    ],
)
def test_a_secrets_file_that_cannot_be_right_is_named(environ: dict[str, str], words: str) -> None:
    with pytest.raises(StoreError, match=words):
        read_settings(environ)
