# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes activations.safetensors, what PyTorch computes in float64 for activations and softmax.

    python generate_activations.py [--out DIR]         needs torch, numpy and safetensors

README.md documents the cases and names.
"""

import argparse
import pathlib

import numpy as np
import torch
from torch import nn

import generate as golden

ROWS = [3, 40]
BOUND = 6.0
# By case: stream, extents of a batch, the module.
CASES = {
    "gelu": (95000, ROWS, nn.GELU()),
    "gelu_tanh": (95100, ROWS, nn.GELU(approximate="tanh")),
    "silu": (95200, ROWS, nn.SiLU()),
    "tanh": (95300, ROWS, nn.Tanh()),
    "sigmoid": (95400, ROWS, nn.Sigmoid()),
    "leaky_relu": (95500, ROWS, nn.LeakyReLU()),
    "leaky_relu/slope": (95600, ROWS, nn.LeakyReLU(0.3)),
    "leaky_relu/negative": (95700, ROWS, nn.LeakyReLU(-0.5)),
    "elu": (95800, ROWS, nn.ELU()),
    "elu/alpha": (95900, ROWS, nn.ELU(0.25)),
    "elu/negative": (96000, ROWS, nn.ELU(-1.5)),
    "softplus": (96100, ROWS, nn.Softplus()),
    "softplus/beta": (96200, ROWS, nn.Softplus(5, 20)),
    "softplus/threshold": (96300, ROWS, nn.Softplus(0.5, 1.5)),
    "softplus/negative": (96400, ROWS, nn.Softplus(-1, 3)),
    "softmax/row": (96500, ROWS, nn.Softmax(-1)),
    "softmax/rows": (96600, [3, 4, 10], nn.Softmax(-1)),
    "softmax/picture": (96700, [3, 5, 4, 2], nn.Softmax2d()),
    "log_softmax/row": (96800, ROWS, nn.LogSoftmax(-1)),
    "log_softmax/rows": (96900, [3, 4, 10], nn.LogSoftmax(-1)),
    "log_softmax/picture": (97000, [3, 5, 4, 2], nn.LogSoftmax(1)),
}


def run(stream, extents, module):
    """The output, and the gradient that arrives from a mean squared error."""
    count = int(np.prod(extents))
    x = golden.as_tensor(golden.symmetric(stream, count, BOUND), extents).requires_grad_()
    target = golden.as_tensor(golden.symmetric(stream + 10, count), extents)
    y = module(x)
    nn.functional.mse_loss(y, target).backward()
    return {"output": y.detach().numpy().copy(), "grad_x": x.grad.numpy().copy()}


def main():
    parser = argparse.ArgumentParser(description="Write the golden values of activations.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    golden.check_philox()
    tensors = {}
    description = {"bound": BOUND, "cases": {}}
    for name, (stream, extents, module) in CASES.items():
        for what, values in run(stream, extents, module).items():
            tensors[f"{name}/{what}"] = values
        description["cases"][name] = {"stream": stream, "extents": extents, "module": str(module)}
    golden.save(arguments.out / "activations.safetensors", tensors, description)


if __name__ == "__main__":
    main()
