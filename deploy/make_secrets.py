"""Make the passwords and keys of compose.yaml, once:  python deploy/make_secrets.py

What is there already stays. Files that containers read are readable inside a folder that only you may enter.
"""

import base64
import hashlib
import json
import secrets
import sys
from pathlib import Path

ITERATIONS = 101  # what mosquitto_passwd takes


def main(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    postgres, mqtt, key, secret = (secrets.token_hex(24) for _ in range(4))
    made = {
        ("postgres-password", "database-url"): (
            postgres,
            f"postgresql://weft:{postgres}@postgres/weft",
        ),
        ("mqtt-password", "mosquitto-passwords"): (mqtt, f"weft:{mosquitto_hash(mqtt)}"),
        ("object-keys", "objects.json"): (
            f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {secret}",
            json.dumps({"identities": [identity(key, secret)]}, indent=2),
        ),
        ("line-token",): (secrets.token_hex(24),),
        ("admin-token",): (secrets.token_hex(24),),
    }
    for names, values in made.items():  # what belongs together is written together
        if all((folder / name).exists() for name in names):
            continue
        for name, value in zip(names, values, strict=True):
            (folder / name).write_text(value + "\n")
            (folder / name).chmod(0o644)
            print(f"made {folder / name}")


def identity(key: str, secret: str) -> dict[str, object]:
    """One user of the object store, who may do everything in it."""
    credentials = [{"accessKey": key, "secretKey": secret}]
    return {"name": "weft", "credentials": credentials, "actions": ["Admin", "Read", "Write", "List"]}


def mosquitto_hash(password: str) -> str:
    salt = secrets.token_bytes(12)
    digest = hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS)
    return f"$7${ITERATIONS}${base64.b64encode(salt).decode()}${base64.b64encode(digest).decode()}"


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "secrets")
