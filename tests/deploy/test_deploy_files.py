"""What is deployed: each file before its own linter, what linters cannot know (routes, limits)."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.routing import Route

from weft_serving.health import router
from weft_serving.settings import _SECRETS, _VARIABLES

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
KUBERNETES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
MANIFESTS = [path for path in KUBERNETES if path.name != "kustomization.yaml"]
HEALTH = {route.path for route in router.routes if isinstance(route, Route)}
OF_CLIENTS = re.compile(r"AWS_\w+|PYTHON\w+|PATH")


def tool(name: str) -> str:
    """A linter from this environment or the system; the test is skipped where there is none."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.skip(f"{name} is not installed here")
    return found


def lint(*command: str | Path) -> str:
    done = subprocess.run([tool(str(command[0])), *map(str, command[1:])], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def objects() -> Iterator[dict[str, Any]]:
    for path in MANIFESTS:
        yield from yaml.safe_load_all(path.read_text())


def one(kind: str) -> dict[str, Any]:
    (found,) = [item for item in objects() if item["kind"] == kind]
    return found


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def variables(text: str) -> set[str]:
    """Names of variables that are set in a unit, an environment file or a Dockerfile."""
    return set(re.findall(r"^(?:#|Environment=| +|ENV )?([A-Z][A-Z0-9_]+)=", text, re.MULTILINE)) | set(
        re.findall(r"(WEFT_[A-Z0-9_]+)=", text)
    )


def unknown(names: set[str]) -> set[str]:
    known = set(_VARIABLES.values()) | {f"{_VARIABLES[name]}_FILE" for name in _SECRETS}
    return {name for name in names - known if not OF_CLIENTS.fullmatch(name)}


def test_the_dockerfile_passes_its_linter() -> None:
    lint("hadolint", DEPLOY / "Dockerfile")


def test_the_image_runs_as_nobody_in_particular_and_stops_when_told() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    last = text.rsplit("\nFROM ", 1)[1]

    assert re.search(r"^USER \d{5}:\d{5}$", last, re.MULTILINE)
    assert 'ENTRYPOINT ["tini", "--", "weft"]' in last
    (probed,) = re.findall(r"127\.0\.0\.1:\{os\.environ\[\\\"PORT\\\"\]\}(/\w+)", last)
    assert probed in HEALTH
    assert unknown(variables(last)) == set()
    assert re.search(r"^ARG PYTHON=\d+\.\d+\.\d+-slim", text, re.MULTILINE)
    assert "--platform" not in text  # arm64 builds too


def test_the_healthcheck_of_the_image_is_python_that_runs() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    command = json.loads(re.findall(r"HEALTHCHECK [^\[]*CMD (\[.*\])", text)[0])

    done = subprocess.run(
        [sys.executable, *command[1:]], env={"PORT": "9"}, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1
    assert "Connection refused" in done.stderr


def test_everything_the_builder_copies_gets_past_the_ignore_file() -> None:
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        word
        for line in re.findall(
            r"^COPY (?!--from)(.*) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE
        )
        for word in line.split()
    }

    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)


def test_every_dependency_of_the_serving_set_is_pinned() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["serve"], *extras["plant"], *extras["s3"]]
    names = {re.split(r"[\[><=;~ ]", need)[0].lower().replace("_", "-") for need in wanted}
    pinned = dict(
        line.split("==") for line in (DEPLOY / "constraints.txt").read_text().split("\n") if "==" in line
    )

    assert names - set(pinned) == set(), "run scripts/lock"


def test_the_compose_file_is_one() -> None:
    lint("check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")


def test_yaml_is_tidy() -> None:
    rules = {
        "line-length": {"max": 130},
        "document-start": "disable",
        "comments": {"min-spaces-from-content": 1},
    }
    lint(
        "yamllint",
        "-s",
        "-d",
        json.dumps({"extends": "default", "rules": rules}),
        *KUBERNETES,
        DEPLOY / "compose.yaml",
    )


def test_no_container_of_the_compose_file_can_do_more_than_it_needs(compose: dict[str, Any]) -> None:
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert set(service.get("cap_add", [])) <= {"NET_BIND_SERVICE"}, name
        assert "no-new-privileges:true" in service["security_opt"], name
        assert service["mem_limit"], name
        assert re.search(r":\d+\.\d", service["image"]), f"{name} needs a version"
        published = bool(service.get("ports"))
        assert published == (name == "proxy"), name
        for given in service.get("secrets", []):
            assert given in compose["secrets"], name
    assert compose["networks"]["inside"]["internal"] is True


def test_replicas_of_the_compose_file_are_configured_by_variables_that_exist(compose: dict[str, Any]) -> None:
    one, other = compose["services"]["weft-1"], compose["services"]["weft-2"]

    assert one["environment"] == other["environment"]
    assert unknown(set(one["environment"])) == set()
    files = {name: value for name, value in one["environment"].items() if name.endswith("_FILE")}
    assert {value.removeprefix("/run/secrets/") for value in files.values()} == set(one["secrets"])


def test_the_secrets_script_makes_what_the_compose_file_needs_once_and_they_fit(
    compose: dict[str, Any], tmp_path: Path
) -> None:
    make = [sys.executable, str(DEPLOY / "make_secrets.py"), str(tmp_path / "secrets")]
    subprocess.run(make, check=True, capture_output=True)
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    subprocess.run(make, check=True, capture_output=True)

    assert set(made) == set(compose["secrets"])
    assert made == {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert made["postgres-password"].strip() in made["database-url"]
    key = json.loads(made["objects.json"])["identities"][0]["credentials"][0]
    assert key["secretKey"] in made["object-keys"]
    assert (tmp_path / "secrets").stat().st_mode & 0o077 == 0


@pytest.mark.slow
def test_the_broker_takes_the_password_that_was_made_and_no_other(tmp_path: Path) -> None:
    broker = tool("mosquitto")
    subprocess.run(
        [sys.executable, str(DEPLOY / "make_secrets.py"), str(tmp_path)], check=True, capture_output=True
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = (DEPLOY / "mosquitto.conf").read_text()
    config = config.replace("listener 1883", f"listener {port} 127.0.0.1")
    config = config.replace("/run/secrets", str(tmp_path)).replace("/mosquitto/data/", f"{tmp_path}/")
    (tmp_path / "mosquitto.conf").write_text(
        config + "user root\n"
    )  # else it leaves its rights, started as root
    process = subprocess.Popen([broker, "-c", tmp_path / "mosquitto.conf"], stderr=subprocess.PIPE)
    try:
        password = (tmp_path / "mqtt-password").read_text().strip()
        assert connect(port, password) == 0
        assert connect(port, "wrong") == 5  # not authorised
    finally:
        process.kill()
        process.communicate()


def connect(port: int, password: str) -> int:
    """The broker's answer to an MQTT 3.1.1 CONNECT of `weft`; 0 is yes."""

    def text(value: str) -> bytes:
        return len(value).to_bytes(2, "big") + value.encode()

    body = text("MQTT") + bytes([4, 0b11000010, 0, 60]) + text("probe") + text("weft") + text(password)
    until = time.monotonic() + 10
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as line:
                line.sendall(bytes([0x10, len(body)]) + body)
                return line.recv(4)[3]
        except ConnectionRefusedError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_a_manifest_fits_the_schemas_of_kubernetes(path: Path) -> None:
    assert "passed" in lint("kubernetes-validate", "--strict", path)


def test_the_kustomization_names_every_manifest() -> None:
    named = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())

    assert sorted(named["resources"]) == [path.name for path in MANIFESTS]


def test_pods_are_unprivileged_limited_and_probed_where_the_service_answers() -> None:
    pod = one("Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert set(container["resources"]["limits"]) == {"cpu", "memory"}
    probes = {
        name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")
    }
    assert set(probes.values()) <= HEALTH
    assert probes["readiness"] != probes["liveness"]  # a lost database must not restart pods
    assert pod["enableServiceLinks"] is False
    mounted = {mount["name"] for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_what_the_manifests_name_is_there() -> None:
    labels = one("Deployment")["spec"]["template"]["metadata"]["labels"]
    settings = one("ConfigMap")["data"]

    assert unknown(set(settings)) == set()
    for kind, where in (
        ("Service", "selector"),
        ("PodDisruptionBudget", "selector"),
        ("NetworkPolicy", "podSelector"),
    ):
        chosen = one(kind)["spec"][where]
        assert chosen.get("matchLabels", chosen) == labels, kind
    assert (
        one("HorizontalPodAutoscaler")["spec"]["scaleTargetRef"]["name"]
        == one("Deployment")["metadata"]["name"]
    )
    open_paths = {path["path"] for path in one("Ingress")["spec"]["rules"][0]["http"]["paths"]}
    assert open_paths.isdisjoint({"/metrics", "/ops", "/bundles", "/v1", "/v1/bundles"})


def test_a_pod_may_finish_its_answers_before_it_is_killed() -> None:
    pod = one("Deployment")["spec"]["template"]["spec"]
    drain = float(one("ConfigMap")["data"]["WEFT_DRAIN_SECONDS"])

    assert pod["terminationGracePeriodSeconds"] >= drain + 10 + 5


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a command that exists here."""
    weft = Path(sys.executable).parent / "weft"
    text = (DEPLOY / "weft.service").read_text()
    (tmp_path / "weft.service").write_text(text.replace("/opt/weft/bin/weft", str(weft)))
    return tmp_path / "weft.service"


def test_the_unit_is_one(unit: Path) -> None:
    assert lint("systemd-analyze", "verify", unit) == ""


def test_the_unit_exposes_little(unit: Path) -> None:
    told = lint("systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=20", unit)

    assert float(re.findall(r"Overall exposure level for \S+: ([\d.]+)", told)[0]) < 2.0


def test_the_unit_knows_only_variables_that_exist() -> None:
    for name in ("weft.service", "weft.env.example"):
        assert unknown(variables((DEPLOY / name).read_text())) == set(), name


def test_the_balancer_reads_its_configuration(tmp_path: Path) -> None:
    caddy = tool("caddy")
    environment = {"WEFT_UPSTREAMS": "one:8000 other:8000", "HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    done = subprocess.run(
        [caddy, "adapt", "--validate", "--adapter", "caddyfile", "--config", DEPLOY / "Caddyfile"],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr
    (server,) = json.loads(done.stdout)["apps"]["http"]["servers"].values()
    (inside,) = [route for route in server["routes"] if route["handle"][0]["handler"] == "static_response"]
    (matched,) = inside["match"]
    assert {"/metrics", "/ops", "/bundles", "/v1/bundles/*"} <= set(matched["path"])
    assert "0.0.0.0/0" not in matched["not"][0]["remote_ip"]["ranges"]
    proxy = server["routes"][-1]["handle"][0]
    assert [upstream["dial"] for upstream in proxy["upstreams"]] == ["one:8000", "other:8000"]
    assert proxy["health_checks"]["active"]["uri"] in HEALTH
