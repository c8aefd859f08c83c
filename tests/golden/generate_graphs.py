# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes graphs.safetensors: what PyTorch computes in float64 for networks that are no chains.

    python generate_graphs.py [--out DIR]         needs torch, numpy and safetensors

README.md documents the networks and names.
"""

import argparse
import pathlib

import numpy as np
import torch
from torch import nn

import generate as golden
import training

BATCH = 7
STEPS = 5
# All exact in float32.
OPTIMIZER = {"lr": 0.0625, "momentum": 0.875, "weight_decay": 2.0**-10}


class Block(nn.Module):
    """torchvision's BasicBlock without batch normalisation."""

    def __init__(self, channels, out, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1)
        self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride)) if stride > 1 else nn.Identity()

    def forward(self, x):
        return torch.relu(self.downsample(x) + self.conv2(torch.relu(self.conv1(x))))


class ResidualNet(nn.Module):
    """Classifies pictures of 3x6x6; the second block changes channels and extents."""

    input = [3, 6, 6]
    output = [5]

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.layer1 = nn.Sequential(Block(4, 4), Block(4, 4))
        self.layer2 = nn.Sequential(Block(4, 6, 2))
        self.fc = nn.Linear(6, 5)

    def forward(self, x):
        x = self.layer2(self.layer1(torch.relu(self.conv1(x))))
        return self.fc(nn.functional.avg_pool2d(x, 3).flatten(1))


class UNet(nn.Module):
    """Pictures to pictures; what is computed early comes back by torch.cat, twice, one inside the other."""

    input = [2, 6, 8]
    output = [2, 6, 8]

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(2, 4, 3, padding=1)
        self.down = nn.Conv2d(4, 6, 3, padding=1)
        self.bottom = nn.Conv2d(6, 5, 3, padding=2, dilation=2)
        self.up = nn.Conv2d(11, 4, 3, padding=1)
        self.last = nn.Conv2d(8, 2, 1)

    def forward(self, x):
        outer = torch.relu(self.first(x))
        inner = torch.relu(self.down(nn.functional.max_pool2d(outer, 3, stride=1, padding=1)))
        inner = torch.cat([inner, torch.relu(self.bottom(inner))], dim=1)
        return self.last(torch.cat([outer, torch.relu(self.up(inner))], dim=1))


class Tied(nn.Module):
    """One layer at three places."""

    input = [5]
    output = [3]

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(5, 6)
        self.shared = nn.Linear(6, 6)
        self.last = nn.Linear(6, 3)

    def forward(self, x):
        x = self.shared(torch.relu(self.shared(self.first(x))))
        return self.last(torch.relu(x + self.shared(x)))


def run(name, build):
    model = build().to(torch.float64)
    parameters = golden.initialize(model)
    x = golden.as_tensor(golden.symmetric(golden.INPUT_STREAM, BATCH * np.prod(model.input)), [BATCH, *model.input])
    y = golden.as_tensor(golden.symmetric(golden.TARGET_STREAM, BATCH * np.prod(model.output)), [BATCH, *model.output])
    optimizer = torch.optim.SGD(model.parameters(), **OPTIMIZER)

    def run():
        output = model(x)
        return nn.functional.mse_loss(output, y), {"output": output}

    return training.train(model, optimizer, STEPS, run, f"{name}/"), parameters


def main():
    parser = argparse.ArgumentParser(description="Write the golden values of networks with branches.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    golden.check_philox()
    tensors = {}
    description = {"batch": BATCH, "steps": STEPS, "optimizer": OPTIMIZER}
    for name, build in {"residual": ResidualNet, "unet": UNet, "tied": Tied}.items():
        results, description[name] = run(name, build)
        tensors |= results
    golden.save(arguments.out / "graphs.safetensors", tensors, description)


if __name__ == "__main__":
    main()
