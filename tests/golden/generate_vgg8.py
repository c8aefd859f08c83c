# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes vgg8.safetensors: the first gradients of a network of six convolutions, in float64.

    python generate_vgg8.py [--out DIR] [--search COUNT]         needs torch, numpy and safetensors

README.md documents the network and names. With --search it writes nothing, but tells which of COUNT streams of pictures
keep the network farthest from its kinks.
"""

import argparse
import pathlib

import numpy as np
import torch
from torch import nn

import generate as golden

BATCH = 3
PIXELS = 3 * 32 * 32
FIRST_STREAM = 2000
INPUT_STREAM = 2069


def two_convolutions(channels, out):
    return nn.Sequential(
        nn.Conv2d(channels, out, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(out, out, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
    )


def network():
    """examples/models/vgg8.hpp with 10 classes."""
    model = golden.sequential(
        block1=two_convolutions(3, 64),
        block2=two_convolutions(64, 128),
        block3=two_convolutions(128, 256),
        flatten=nn.Flatten(),
        fc1=nn.Linear(256 * 4 * 4, 256),
        relu=nn.ReLU(),
        fc2=nn.Linear(256, golden.CLASSES),
    ).double()
    golden.initialize(model)
    return model


def pictures(stream):
    return golden.as_tensor(golden.symmetric(stream, BATCH * PIXELS), [BATCH, 3, 32, 32])


def distance_from_kinks(model, x):
    """The smallest change of a value that another choice of a relu or a pooling takes, as part of its layer's largest."""
    smallest = 1.0
    flat = [layer for part in model for layer in (part if isinstance(part, nn.Sequential) else [part])]
    for layer in flat:
        if isinstance(layer, nn.ReLU):
            smallest = min(smallest, (x.abs().min() / x.abs().max()).item())
        if isinstance(layer, nn.MaxPool2d):
            windows = x.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4)
            first, second = windows.topk(2).values.unbind(-1)
            # All zeros: the relu before stops the gradient, whichever of them wins.
            smallest = min(smallest, ((first - second)[first > 0].min() / x.abs().max()).item())
        x = layer(x)
    return smallest


def search(count):
    model = network()
    with torch.no_grad():
        found = [
            (distance_from_kinks(model, pictures(stream)), stream)
            for stream in range(FIRST_STREAM, FIRST_STREAM + count)
        ]
    for distance, stream in sorted(found, reverse=True)[:5]:
        print(f"stream {stream}: {distance:.2e}")


def main():
    parser = argparse.ArgumentParser(description="Write the golden gradients of a network of six convolutions.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent)
    parser.add_argument("--search", type=int, metavar="COUNT", help="rate that many streams of pictures instead")
    arguments = parser.parse_args()
    golden.check_philox()
    if arguments.search:
        search(arguments.search)
        return
    model = network()
    labels = torch.from_numpy(golden.labels(golden.LABEL_STREAM, BATCH, golden.CLASSES))
    loss = nn.functional.cross_entropy(model(pictures(INPUT_STREAM)), labels)
    loss.backward()
    tensors = {"loss": np.array([loss.item()])}
    for name, parameter in model.named_parameters():
        tensors |= golden.gradient_values(f"grad/{name}", parameter.grad)
    golden.save(arguments.out / "vgg8.safetensors", tensors, {"batch": BATCH, "input_stream": INPUT_STREAM})


if __name__ == "__main__":
    main()
