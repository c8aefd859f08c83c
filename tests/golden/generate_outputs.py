# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes outputs.safetensors: what PyTorch computes in float64 for a network with several outputs and losses.

    python generate_outputs.py [--out DIR]        needs torch, numpy and safetensors

README.md documents the network and names.
"""

import argparse
import pathlib

import numpy as np
import torch
from torch import nn

import generate as golden
import generate_graphs as graphs
import training

CLASSES = [0, 3, -100, 1, 2, -100, 3]
WEIGHTS = {"kind": 1.0, "box": 0.5, "mask": 3.0}


class Detector(nn.Module):
    """A class, four numbers and a picture from one picture of 2x4x6."""

    input = [2, 4, 6]

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, padding=1)
        self.kind = nn.Linear(4 * 24, 4)
        self.box = nn.Sequential(nn.Linear(4 * 6, 5), nn.ReLU(), nn.Linear(5, 4))
        self.mask = nn.Conv2d(4, 1, 3, padding=1)

    def forward(self, x):
        x = torch.relu(self.conv1(x))
        pooled = nn.functional.max_pool2d(x, 2).flatten(1)
        return {"kind": self.kind(x.flatten(1)), "box": self.box(pooled), "mask": self.mask(x)}


def run():
    batch = graphs.BATCH
    model = Detector().to(torch.float64)
    parameters = golden.initialize(model)
    x = golden.as_tensor(golden.symmetric(golden.INPUT_STREAM, batch * np.prod(model.input)), [batch, *model.input])
    targets = {
        "kind": torch.tensor(CLASSES),
        "box": golden.as_tensor(golden.symmetric(golden.TARGET_STREAM, batch * 4), [batch, 4]),
        "mask": golden.as_tensor(golden.symmetric(golden.TARGET_STREAM + 1, batch * 24), [batch, 1, 4, 6]),
    }
    criteria = {
        "kind": nn.CrossEntropyLoss(label_smoothing=0.125),
        "box": nn.MSELoss(),
        "mask": nn.MSELoss(),
    }
    optimizer = torch.optim.SGD(model.parameters(), **graphs.OPTIMIZER)

    def run():
        outputs = model(x)
        parts = {name: criteria[name](outputs[name], targets[name]) for name in WEIGHTS}
        loss = sum(WEIGHTS[name] * parts[name] for name in WEIGHTS)
        return [loss, *parts.values()], {f"output/{name}": output for name, output in outputs.items()}

    return training.train(model, optimizer, graphs.STEPS, run), parameters


def main():
    parser = argparse.ArgumentParser(description="Write the golden values of a network with several outputs.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    golden.check_philox()
    tensors, parameters = run()
    description = {"batch": graphs.BATCH, "steps": graphs.STEPS, "optimizer": graphs.OPTIMIZER,
                   "classes": CLASSES, "weights": WEIGHTS, "parameters": parameters}
    golden.save(arguments.out / "outputs.safetensors", tensors, description)


if __name__ == "__main__":
    main()
