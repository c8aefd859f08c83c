# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes inputs.safetensors: what PyTorch computes in float64 for a network with several inputs.

    python generate_inputs.py [--out DIR]        needs torch, numpy and safetensors

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

IMAGE = [2, 4, 6]
WORDS = [5]
WORDS_STREAM = golden.INPUT_STREAM + 1


class Reader(nn.Module):
    """Three numbers from a picture and five numbers, which it reads twice."""

    def __init__(self):
        super().__init__()
        self.image = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                                   nn.Linear(4 * 6, 6))
        self.words = nn.Sequential(nn.Linear(5, 6), nn.ReLU())
        self.body = nn.Linear(6, 4)
        self.head = nn.Linear(4 + 5 + 2 * 24, 3)

    def forward(self, image, words):
        x = torch.relu(self.image(image) + self.words(words))
        return self.head(torch.cat([self.body(x), words, image.flatten(1)], dim=1))


def run():
    batch = graphs.BATCH
    model = Reader().to(torch.float64)
    parameters = golden.initialize(model)
    image = golden.as_tensor(golden.symmetric(golden.INPUT_STREAM, batch * np.prod(IMAGE)), [batch, *IMAGE])
    words = golden.as_tensor(golden.symmetric(WORDS_STREAM, batch * np.prod(WORDS)), [batch, *WORDS])
    targets = golden.as_tensor(golden.symmetric(golden.TARGET_STREAM, batch * 3), [batch, 3])
    optimizer = torch.optim.SGD(model.parameters(), **graphs.OPTIMIZER)

    def run():
        output = model(image, words)
        return nn.MSELoss()(output, targets), {"output": output}

    return training.train(model, optimizer, graphs.STEPS, run), parameters


def main():
    parser = argparse.ArgumentParser(description="Write the golden values of a network with several inputs.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    golden.check_philox()
    tensors, parameters = run()
    description = {"batch": graphs.BATCH, "steps": graphs.STEPS, "optimizer": graphs.OPTIMIZER,
                   "image": IMAGE, "words": WORDS, "parameters": parameters}
    golden.save(arguments.out / "inputs.safetensors", tensors, description)


if __name__ == "__main__":
    main()
