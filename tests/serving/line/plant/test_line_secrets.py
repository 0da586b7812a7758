"""Who is let in: URLs, passwords that are never shown, and TLS on a real broker and a real OPC UA server."""

import asyncio
import ipaddress
import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncua
import pytest
from asyncua import ua
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from weft.errors import LineError
from weft_serving.line.plant.mqtt import MqttSink
from weft_serving.line.plant.mqtt_broker import Broker, read_broker
from weft_serving.line.plant.opcua import APPLICATION, NAMESPACE, OpcUaServer
from weft_serving.line.plant.opcua_place import Place, read_place

SECRET = "open-sesame"
HASHED = (  # by mosquitto_passwd, for the user "line"
    "line:$7$101$3fgamQ5VqUImeUlM$OGo7fiGiOCMkDSUm7FZ8octTpDB5b2sNLLJV6kCb8"
    "eFxL1YUUhP+JjoKfEwMgHpxbLn94Mhvh4QZsqec131D8A==\n"
)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that is its own authority, and its key."""
    folder = tmp_path_factory.mktemp("certificate")
    key = rsa.generate_private_key(public_exponent=65_537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "weft test")])
    names = [
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.UniformResourceIdentifier(APPLICATION),
    ]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.now(UTC) - timedelta(days=1))
        .not_valid_after(datetime.now(UTC) + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(
            x509.KeyUsage(True, True, True, True, False, True, False, False, False),
            critical=True,
        )
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return folder / "cert.pem", folder / "key.pem"


def test_a_brokers_url_says_all_that_a_connection_needs() -> None:
    assert read_broker("mqtt://broker") == Broker(host="broker", port=1883, prefix="weft")
    found = read_broker(f"mqtt://line%40plant:{SECRET}@broker:1999/plant7/sorting")
    assert found == Broker("broker", 1999, "line@plant", SECRET, prefix="plant7/sorting")
    assert read_broker("mqtt://line@broker", password=SECRET).password == SECRET
    assert read_broker("mqtts://broker").port == 8883
    assert SECRET not in repr(found) + found.shown


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"http://u:{SECRET}@broker", "names no broker of kind mqtt or mqtts; write mqtt://"),
        (f"mqtt://u:{SECRET}@", "names no broker"),
        (f"mqtt://u:{SECRET}@broker:70000", "cannot be read"),
        (f"mqtt://u:{SECRET}@broker/a/+/b", "the MQTT prefix 'a/\\+/b' holds a wildcard"),
        (f"mqtt://:{SECRET}@broker", "has a password and no user"),
        (f"mqtt://u:{SECRET}@broker?ca=x", "asks for ca, which mqtt:// does not know"),
        (f"mqtts://u:{SECRET}@broker?verify=no", "asks for verify, which mqtts:// does not know"),
        (f"mqtts://u:{SECRET}@broker?ca=/nowhere.pem", "/nowhere.pem: no certificates that TLS can use"),
    ],
)
def test_a_brokers_url_that_cannot_be_used_is_refused_without_its_password(url: str, said: str) -> None:
    with pytest.raises(LineError, match=said) as caught:
        read_broker(url)

    assert SECRET not in str(caught.value)


@pytest.fixture
def closed_broker(make_broker: Any, tmp_path: Path, certificate: tuple[Path, Path]) -> Any:
    """Speaks TLS alone, and only with the user "line"."""
    cert, key = certificate
    passwords = tmp_path / "passwords"
    passwords.write_text(HASHED)
    return make_broker(
        "allow_anonymous false", f"password_file {passwords}", f"certfile {cert}", f"keyfile {key}"
    )


def test_a_line_speaks_over_tls_with_its_password_and_no_log_shows_it(
    closed_broker: Any,
    words: Any,
    told: Any,
    until: Callable[..., None],
    tmp_path: Path,
    certificate: tuple[Path, Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    right = f"mqtts://line:{SECRET}@127.0.0.1:{closed_broker.cable.port}?ca={certificate[0]}"

    sink = MqttSink(words.line, read_broker(right), tmp_path / "right.sqlite", alarm=told)
    sink.decided(words.decision(1), words.evidence)
    until(lambda: sink.on_disk == 1 and sink.waiting == 0, "the decision to be taken")
    sink.close()
    assert told.all == []

    wrong = read_broker(right, password="wrong" + SECRET)
    sink = MqttSink(words.line, wrong, tmp_path / "wrong.sqlite", alarm=told)
    until(lambda: told.all, "the alarm")
    sink.close()
    assert "Not authorized" in told.all[0][1]
    assert SECRET not in caplog.text + str(told.all)


# paho leaves the socket of a failed handshake to the garbage collector
@pytest.mark.filterwarnings(
    "ignore:Exception ignored in. <ssl.SSLSocket:pytest.PytestUnraisableExceptionWarning"
)
def test_a_broker_whose_certificate_nobody_vouches_for_gets_nothing(
    closed_broker: Any, words: Any, told: Any, until: Callable[..., None], tmp_path: Path
) -> None:
    broker = read_broker(f"mqtts://line:{SECRET}@127.0.0.1:{closed_broker.cable.port}")

    sink = MqttSink(words.line, broker, tmp_path / "demo.sqlite", alarm=told)
    until(lambda: told.all, "the alarm")
    sink.close()

    assert told.codes() == ["+broker-down"]
    assert "CERTIFICATE_VERIFY_FAILED" in told.all[0][1]


def test_an_opc_ua_url_says_where_to_listen_and_whom_to_let_in(certificate: tuple[Path, Path]) -> None:
    cert, key = certificate

    assert read_place("opc.tcp://0.0.0.0") == Place(host="0.0.0.0", port=4840)
    assert read_place("opc.tcp://[::]:4841").endpoint == "opc.tcp://[::]:4841/weft"
    found = read_place(f"opc.tcp://plc:{SECRET}@0.0.0.0:4840?cert={cert}&key={key}")
    assert found == Place("0.0.0.0", 4840, "plc", SECRET, cert, key)
    assert SECRET not in repr(found) + found.endpoint


@pytest.mark.parametrize(
    ("url", "said"),
    [
        (f"http://u:{SECRET}@0.0.0.0", "names no address of kind opc.tcp"),
        (f"opc.tcp://u:{SECRET}@0.0.0.0:x", "cannot be read"),
        (f"opc.tcp://u:{SECRET}@0.0.0.0", "password would cross the network in the clear"),
        ("opc.tcp://u@0.0.0.0", "has a user or a password and not both"),
        (f"opc.tcp://u:{SECRET}@0.0.0.0?cert=x", "asks for cert, needed cert and key"),
        (f"opc.tcp://u:{SECRET}@0.0.0.0?cert=/nowhere&key=/nowhere", "/nowhere: no such file"),
    ],
)
def test_an_opc_ua_url_that_cannot_be_used_is_refused_without_its_password(url: str, said: str) -> None:
    with pytest.raises(LineError, match=said) as caught:
        read_place(url)

    assert SECRET not in str(caught.value)


@pytest.mark.slow
def test_with_a_certificate_only_who_encrypts_and_knows_the_password_may_read(
    certificate: tuple[Path, Path], free_port: int, words: Any
) -> None:
    cert, key = certificate
    server = OpcUaServer(f"opc.tcp://plc:{SECRET}@127.0.0.1:{free_port}?cert={cert}&key={key}")
    sink = server.sink("demo", ["cotton"])
    sink.stood(words.state())
    url = f"opc.tcp://127.0.0.1:{free_port}"

    async def read(*, password: str | None, encrypts: bool) -> Any:
        client = asyncua.Client(url, timeout=10)
        client.application_uri = APPLICATION
        if password is not None:
            client.set_user("plc")
            client.set_password(password)
        if encrypts:
            await client.set_security(
                SecurityPolicyBasic256Sha256,
                str(cert),
                str(key),
                mode=ua.MessageSecurityMode.SignAndEncrypt,
            )
        async with client:
            index = await client.get_namespace_index(NAMESPACE)
            return await client.get_node(f"ns={index};s=demo.AlarmsActive").read_value()

    assert asyncio.run(read(password=SECRET, encrypts=True)) == 0
    with pytest.raises(ua.UaStatusCodeError, match="BadUserAccessDenied"):
        asyncio.run(read(password="wrong", encrypts=True))
    with pytest.raises((ua.UaError, ua.UaStatusCodeError)):
        asyncio.run(read(password=None, encrypts=True))
    with pytest.raises((ua.UaError, ConnectionError, OSError, asyncio.TimeoutError)):
        asyncio.run(read(password=None, encrypts=False))
    sink.close()
    server.close()
