# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes resnet20.safetensors: twenty steps of a residual network with batch normalisation, in float64.

    python generate_resnet20.py [--out DIR]         needs torch, numpy and safetensors

README.md documents the network and names.
"""

import argparse
import pathlib

import numpy as np
import torch
from torch import nn

import generate as golden

BATCH = 13
STEPS = 20
# All exact in float32.
OPTIMIZER = {"lr": 2.0**-9, "momentum": 0.875, "weight_decay": 2.0**-10}
SAMPLES = 2048


class Block(nn.Module):
    """torchvision's BasicBlock."""

    def __init__(self, channels, out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.downsample = None
        if stride > 1:
            self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + (x if self.downsample is None else self.downsample(x)))


class ResNet20(nn.Module):
    """He et al. (2015), section 4.2, with projections where the picture shrinks, under torchvision's names."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*[Block(16, 16, 1) for _ in range(3)])
        self.layer2 = nn.Sequential(Block(16, 32, 2), Block(32, 32, 1), Block(32, 32, 1))
        self.layer3 = nn.Sequential(Block(32, 64, 2), Block(64, 64, 1), Block(64, 64, 1))
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        x = self.layer3(self.layer2(self.layer1(torch.relu(self.bn1(self.conv1(x))))))
        return self.fc(nn.functional.avg_pool2d(x, 8).flatten(1))


def initialize(model):
    """Convolutions and the linear layer from streams 100, 101, ...; normalisations so that relus are rarely at their kink.

    There rounding alone would change a gradient by a part in 400: a block's second normalisation has weights 1/4 and
    biases 0, all others have weights 1 and biases 4.
    """
    stream = golden.PARAMETER_STREAM
    with torch.no_grad():
        for name, module in model.named_modules():
            if isinstance(module, nn.BatchNorm2d):
                second = name.endswith("bn2")
                module.weight.fill_(0.25 if second else 1)
                module.bias.fill_(0 if second else 4)
            if not isinstance(module, (nn.Conv2d, nn.Linear)):
                continue
            bound = golden.fan_in_bound(module.weight[0].numel())
            for parameter in module.parameters():
                values = golden.symmetric(stream, parameter.numel(), bound)
                parameter.copy_(golden.as_tensor(values, parameter.shape))
                stream += 1


def stored(values):
    """All values of a small tensor; of a large one, elements 0, stride, 2 stride, ..."""
    flat = values.detach().reshape(-1).numpy().astype(np.float32)
    return flat[:: -(-flat.size // SAMPLES)].copy()


def main():
    parser = argparse.ArgumentParser(description="Write the golden values of a trained residual network.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent)
    arguments = parser.parse_args()
    golden.check_philox()
    model = ResNet20().double()
    initialize(model)
    optimizer = torch.optim.SGD(model.parameters(), **OPTIMIZER)
    losses = []
    for step in range(STEPS):
        x = golden.as_tensor(golden.symmetric(2000 + step, BATCH * 3 * 32 * 32), [BATCH, 3, 32, 32])
        labels = torch.from_numpy(golden.labels(3000 + step, BATCH, 10))
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    tensors = {"losses": np.array(losses)}
    for name, values in model.state_dict().items():
        tensors[f"trained/{name}"] = stored(values)
    description = {"batch": BATCH, "steps": STEPS, "optimizer": OPTIMIZER, "samples": SAMPLES}
    golden.save(arguments.out / "resnet20.safetensors", tensors, description)


if __name__ == "__main__":
    main()
