# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes sample_norms.safetensors: what PyTorch computes in float64 for LayerNorm, RMSNorm and GroupNorm, and for Linear
on the rows of a sample.

    python generate_sample_norms.py [--out DIR]         needs torch, numpy and safetensors

README.md documents the cases and names.
"""

import argparse
import pathlib

import numpy as np
import torch
from torch import nn

import generate as golden
import training

FLOAT32_EPSILON = 2.0**-23  # RMSNorm's default for float32
# By case: stream, extents of a batch, the module.
LAYERS = {
    "layer_norm/row": (92000, [7, 19], lambda: nn.LayerNorm(19)),
    "layer_norm/eps": (92100, [7, 19], lambda: nn.LayerNorm(19, eps=0.125)),
    "layer_norm/no_affine": (92200, [7, 19], lambda: nn.LayerNorm(19, elementwise_affine=False)),
    "layer_norm/no_bias": (92300, [7, 19], lambda: nn.LayerNorm(19, bias=False)),
    "layer_norm/wide": (92400, [5, 100], lambda: nn.LayerNorm(100)),
    "layer_norm/rows": (92500, [3, 4, 37], lambda: nn.LayerNorm(37)),
    "layer_norm/picture": (92600, [4, 5, 3, 4], lambda: nn.LayerNorm([5, 3, 4])),
    "layer_norm/picture_no_bias": (92700, [4, 8, 3, 3], lambda: nn.LayerNorm([8, 3, 3], bias=False)),
    "rms_norm/row": (93000, [7, 19], lambda: nn.RMSNorm(19, eps=FLOAT32_EPSILON)),
    "rms_norm/eps": (93100, [7, 19], lambda: nn.RMSNorm(19, eps=0.125)),
    "rms_norm/no_affine": (93200, [7, 19], lambda: nn.RMSNorm(19, eps=FLOAT32_EPSILON, elementwise_affine=False)),
    "rms_norm/rows": (93300, [3, 4, 37], lambda: nn.RMSNorm(37, eps=FLOAT32_EPSILON)),
    "rms_norm/picture": (93400, [4, 5, 3, 4], lambda: nn.RMSNorm([5, 3, 4], eps=FLOAT32_EPSILON)),
    "group_norm/picture": (94000, [5, 6, 3, 4], lambda: nn.GroupNorm(3, 6)),
    "group_norm/eps": (94100, [5, 6, 3, 4], lambda: nn.GroupNorm(3, 6, eps=0.125)),
    "group_norm/no_affine": (94200, [5, 6, 3, 4], lambda: nn.GroupNorm(2, 6, affine=False)),
    "group_norm/no_bias": (94300, [5, 8, 3, 4], lambda: nn.GroupNorm(2, 8, bias=False)),
    "group_norm/wide": (94400, [3, 24, 5, 4], lambda: nn.GroupNorm(6, 24)),
    "group_norm/widest": (94500, [3, 32, 5, 7], lambda: nn.GroupNorm(4, 32)),
    "group_norm/one": (94600, [3, 16, 3, 3], lambda: nn.GroupNorm(1, 16)),
    "group_norm/each": (94700, [3, 16, 3, 3], lambda: nn.GroupNorm(16, 16)),
    "group_norm/row": (94800, [7, 24], lambda: nn.GroupNorm(4, 24)),
    "group_norm/line": (94900, [5, 6, 21], lambda: nn.GroupNorm(2, 6)),
}
BATCH = 5
STEPS = 5
# All exact in float32.
OPTIMIZER = {"lr": 0.0625, "momentum": 0.875, "weight_decay": 2.0**-10}


def run_layer(name, stream, extents, build):
    """One batch, whose gradient arrives from a mean squared error."""
    layer = build().to(torch.float64)
    count = int(np.prod(extents))
    with torch.no_grad():
        for at, each in ((20, "weight"), (21, "bias")):
            parameter = getattr(layer, each, None)
            if parameter is not None:
                values = golden.symmetric(stream + at, parameter.numel())
                parameter.copy_(golden.as_tensor(values, list(parameter.shape)))
    x = golden.as_tensor(golden.symmetric(stream, count), extents)
    x.requires_grad_()
    y = layer(x)
    target = golden.as_tensor(golden.symmetric(stream + 10, count), extents)
    nn.functional.mse_loss(y, target).backward()
    tensors = {f"{name}/output": y, f"{name}/grad_x": x.grad}
    for each, parameter in layer.named_parameters():
        tensors[f"{name}/grad_{each}"] = parameter.grad
    return {each: values.detach().numpy().copy() for each, values in tensors.items()}


class Rows(nn.Module):
    """Samples of 6 rows of 5 features."""

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(5, 24)
        self.norm1 = nn.LayerNorm(24)
        self.fc2 = nn.Linear(24, 12)
        self.norm2 = nn.RMSNorm(12, eps=FLOAT32_EPSILON)
        self.fc3 = nn.Linear(12, 4)

    def forward(self, x):
        x = torch.relu(self.norm1(self.fc1(x)))
        return self.fc3(self.norm2(torch.relu(self.fc2(x))))


def run_model():
    model = Rows().to(torch.float64)
    parameters = golden.initialize(model)
    x = golden.as_tensor(golden.symmetric(golden.INPUT_STREAM, BATCH * 6 * 5), [BATCH, 6, 5])
    y = golden.as_tensor(golden.symmetric(golden.TARGET_STREAM, BATCH * 6 * 4), [BATCH, 6, 4])
    optimizer = torch.optim.SGD(model.parameters(), **OPTIMIZER)

    def run():
        output = model(x)
        return nn.functional.mse_loss(output, y), {"output": output}

    return training.train(model, optimizer, STEPS, run, "rows/"), parameters


def main():
    parser = argparse.ArgumentParser(description="Write the golden values of normalised samples.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    golden.check_philox()
    tensors = {}
    description = {"layers": {}, "batch": BATCH, "steps": STEPS, "optimizer": OPTIMIZER}
    for name, (stream, extents, build) in LAYERS.items():
        tensors |= run_layer(name, stream, extents, build)
        description["layers"][name] = {"stream": stream, "extents": extents, "module": repr(build())}
    results, description["model"] = run_model()
    golden.save(arguments.out / "sample_norms.safetensors", tensors | results, description)


if __name__ == "__main__":
    main()
