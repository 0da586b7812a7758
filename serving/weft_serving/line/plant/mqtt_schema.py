"""JSON schemas of what a line says over MQTT. Run: python -m weft_serving.line.plant.mqtt_schema docs/line"""

import json
import sys
from pathlib import Path
from typing import Any

from weft_serving.line.plant.mqtt_messages import SCHEMA_VERSION, SCHEMAS


def schema(name: str) -> dict[str, Any]:
    """The JSON schema of one kind of payload, as it is written (no field is left out)."""
    found = SCHEMAS[name].model_json_schema(mode="serialization")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:weft:mqtt:{name}:{SCHEMA_VERSION}",
        **found,
    }


def write_schemas(folder: Path) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path] = []
    for name in SCHEMAS:
        path = folder / f"mqtt-{name}.json"
        path.write_text(json.dumps(schema(name), indent=2) + "\n", encoding="utf-8")
        paths.append(path)
    return paths


if __name__ == "__main__":
    for written in write_schemas(Path(sys.argv[1])):
        print(written)
