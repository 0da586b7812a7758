"""Ray Serve as its documentation has it: a deployment that takes Starlette's request."""

import os
import sys

import ray
from model import Model
from ray import serve
from starlette.requests import Request


@serve.deployment
class Weight:
    def __init__(self) -> None:
        self.model = Model()

    async def __call__(self, request: Request) -> dict[str, float]:
        return {"grams": self.model.grams(await request.body())}


if __name__ == "__main__":
    ray.init(
        include_dashboard=False,
        runtime_env={
            "env_vars": {name: os.environ[name] for name in ("PEER_MODEL", "PEER_DECODE", "PYTHONPATH")}
        },
    )
    serve.start(http_options={"host": "127.0.0.1", "port": int(sys.argv[1])})
    serve.run(Weight.bind(), blocking=True)
