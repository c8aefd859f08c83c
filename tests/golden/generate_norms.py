# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes norms.safetensors, what PyTorch computes in float64 for batch normalisation, and norms_model.safetensors, a
state dict as safetensors.torch saves it.

    python generate_norms.py [--out DIR]         needs torch, numpy and safetensors

README.md documents the cases and names.
"""

import argparse
import pathlib

import numpy as np
import safetensors.torch
import torch
from torch import nn

import generate as golden
import training

TRAINED_BATCHES = 3
# By case: stream, extents of a batch, options.
LAYERS = {
    "bn2d/plain": (90000, [6, 5, 4, 3], {}),
    "bn2d/eps": (90100, [6, 5, 4, 3], {"eps": 0.125}),
    "bn2d/momentum": (90200, [6, 5, 4, 3], {"momentum": 0.25}),
    "bn2d/cumulative": (90300, [6, 5, 4, 3], {"momentum": None}),
    "bn2d/no_affine": (90400, [6, 5, 4, 3], {"affine": False}),
    "bn2d/wide": (90500, [5, 24, 3, 3], {"eps": 0.001}),
    "bn2d/widest": (90600, [3, 32, 5, 2], {"momentum": None, "affine": False}),
    "bn1d/plain": (91000, [9, 6], {}),
    "bn1d/eps_momentum": (91100, [9, 6], {"eps": 0.5, "momentum": 0.5}),
    "bn1d/cumulative_no_affine": (91200, [9, 16], {"momentum": None, "affine": False}),
}
BATCH = 11
STEPS = 5
# All exact in float32.
OPTIMIZER = {"lr": 0.0625, "momentum": 0.875, "weight_decay": 2.0**-10}


def run_layer(name, stream, extents, options):
    """Trains on three batches, whose gradients arrive from a mean squared error, and then infers a fourth."""
    build = nn.BatchNorm2d if len(extents) == 4 else nn.BatchNorm1d
    layer = build(extents[1], dtype=torch.float64, **options)
    count = int(np.prod(extents))
    with torch.no_grad():
        if layer.affine:
            layer.weight.copy_(golden.as_tensor(golden.symmetric(stream + 20, extents[1]), [extents[1]]))
            layer.bias.copy_(golden.as_tensor(golden.symmetric(stream + 21, extents[1]), [extents[1]]))
    tensors = {}
    for number in range(TRAINED_BATCHES + 1):
        layer.train(number < TRAINED_BATCHES)
        # Batches of different means.
        x = golden.as_tensor(golden.symmetric(stream + number, count), extents) + number
        x.requires_grad_()
        y = layer(x)
        results = {"output": y}
        if layer.training:
            layer.zero_grad()
            target = golden.as_tensor(golden.symmetric(stream + 10 + number, count), extents)
            nn.functional.mse_loss(y, target).backward()
            results |= {"grad_x": x.grad, "running_mean": layer.running_mean, "running_var": layer.running_var}
            if layer.affine:
                results |= {"grad_weight": layer.weight.grad, "grad_bias": layer.bias.grad}
        for each, values in results.items():
            tensors[f"{name}/{number}/{each}"] = values.detach().numpy().copy()
    assert layer.num_batches_tracked.item() == TRAINED_BATCHES
    return tensors


class Block(nn.Module):
    """torchvision's BasicBlock."""

    def __init__(self, channels, out, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.downsample = nn.Identity()
        if stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.downsample(x) + self.bn2(self.conv2(y)))


class ResidualNet(nn.Module):
    """Pictures of 3x8x8; the second block changes channels and extents."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.layer1 = nn.Sequential(Block(8, 8))
        self.layer2 = nn.Sequential(Block(8, 6, 2))
        self.fc = nn.Linear(6, 5)

    def forward(self, x):
        x = self.layer2(self.layer1(torch.relu(self.bn1(self.conv1(x)))))
        return self.fc(nn.functional.avg_pool2d(x, 4).flatten(1))


def run_model(out):
    model = ResidualNet().to(torch.float64)
    parameters = golden.initialize(model)
    x = golden.as_tensor(golden.symmetric(golden.INPUT_STREAM, BATCH * 3 * 8 * 8), [BATCH, 3, 8, 8])
    y = golden.as_tensor(golden.symmetric(golden.TARGET_STREAM, BATCH * 5), [BATCH, 5])
    optimizer = torch.optim.SGD(model.parameters(), **OPTIMIZER)
    tensors = training.train(
        model,
        optimizer,
        STEPS,
        lambda: (nn.functional.mse_loss(model(x), y), {}),
        "model/",
        trained=lambda: [(name, values.double()) for name, values in model.state_dict().items()],
    )
    model.eval()
    tensors["model/inferred"] = model(x).detach().numpy().copy()
    # As users save: float32, counts in int64.
    path = out / "norms_model.safetensors"
    safetensors.torch.save_file(model.to(torch.float32).state_dict(), path)
    path.chmod(0o644)
    return tensors, parameters


def main():
    parser = argparse.ArgumentParser(description="Write the golden values of batch normalisation.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    golden.check_philox()
    tensors = {}
    description = {"layers": {}, "batch": BATCH, "steps": STEPS, "optimizer": OPTIMIZER}
    for name, (stream, extents, options) in LAYERS.items():
        tensors |= run_layer(name, stream, extents, options)
        description["layers"][name] = {"stream": stream, "extents": extents, "options": options}
    results, description["model"] = run_model(arguments.out)
    golden.save(arguments.out / "norms.safetensors", tensors | results, description)


if __name__ == "__main__":
    main()
