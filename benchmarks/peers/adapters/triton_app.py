"""Triton through its Python package: one tensor of bytes in, one number out, batched by Triton."""

import sys

import numpy as np
from model import Model
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

model = Model()


@batch
def infer(image: np.ndarray) -> list[np.ndarray]:
    return [np.array([[model.grams(row[0])] for row in image], np.float32)]


if __name__ == "__main__":
    port = int(sys.argv[1])
    ports = TritonConfig(
        http_address="127.0.0.1",
        http_port=port,
        grpc_port=port + 1,
        metrics_port=port + 2,
        allow_metrics=False,
    )
    with Triton(config=ports) as triton:
        triton.bind(
            model_name="weight",
            infer_func=infer,
            inputs=[Tensor(name="image", dtype=bytes, shape=(1,))],
            outputs=[Tensor(name="grams", dtype=np.float32, shape=(1,))],
            config=ModelConfig(max_batch_size=8, batcher=DynamicBatcher(max_queue_delay_microseconds=500)),
        )
        triton.serve()
