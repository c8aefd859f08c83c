# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes lengths.safetensors: what PyTorch computes in float64 for attention among samples of different lengths.

    python generate_lengths.py [--out DIR]         needs torch, numpy and safetensors

README.md documents the networks and names.
"""

import argparse
import pathlib

import numpy as np
import torch
from torch import nn

import generate as golden
import generate_graphs as graphs

ROWS = 5
WIDTH = 6
CLASSES = 4
LENGTHS = [5, 1, 3, 4, 2, 5, 1]
IGNORED = -100


class Attention(nn.Module):
    """Attention alone, whose rows see the others, or those before them."""

    def __init__(self, causal):
        super().__init__()
        self.attention = nn.MultiheadAttention(WIDTH, 2, batch_first=True)
        self.head = nn.Linear(WIDTH, CLASSES)
        self.causal = causal

    def forward(self, x, padding):
        mask = torch.ones(ROWS, ROWS, dtype=torch.bool).triu(1) if self.causal else None
        return self.head(self.attention(x, x, x, key_padding_mask=padding, attn_mask=mask, need_weights=False)[0])


class Encoder(nn.Module):
    """Two layers of an encoder."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(WIDTH, 3, 8, dropout=0.0, batch_first=True)
                                    for _ in range(2))
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, x, padding):
        for layer in self.layers:
            x = layer(x, src_key_padding_mask=padding)
        return self.head(x)


def run(name, model):
    batch = graphs.BATCH
    parameters = sorted(each for each, _ in model.named_parameters())
    with torch.no_grad():
        for k, each in enumerate(parameters):
            parameter = model.get_parameter(each)
            values = golden.symmetric(golden.PARAMETER_STREAM + k, parameter.numel(), 0.5)
            parameter.copy_(golden.as_tensor(values, parameter.shape))
    x = golden.as_tensor(golden.symmetric(golden.INPUT_STREAM, batch * ROWS * WIDTH), [batch, ROWS, WIDTH])
    lengths = torch.tensor(LENGTHS)
    beyond = torch.arange(ROWS)[None, :] >= lengths[:, None]
    targets = torch.from_numpy(golden.labels(golden.LABEL_STREAM, batch * ROWS, CLASSES))
    targets[beyond.flatten()] = IGNORED
    output = model(x, beyond)
    nn.CrossEntropyLoss(ignore_index=IGNORED)(output.flatten(0, 1), targets).backward()
    tensors = {f"{name}/output": torch.where(beyond[:, :, None], torch.zeros_like(output), output).detach().numpy()}
    for each, parameter in model.named_parameters():
        tensors[f"{name}/grad/{each}"] = parameter.grad.numpy().copy()
    return tensors, parameters


def main():
    parser = argparse.ArgumentParser(description="Write the golden values of attention among different lengths.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    golden.check_philox()
    tensors = {}
    description = {"batch": graphs.BATCH, "lengths": LENGTHS, "ignored": IGNORED}
    for name, model in (("attention", Attention(False)), ("causal", Attention(True)), ("encoder", Encoder())):
        own, parameters = run(name, model.to(torch.float64))
        tensors |= own
        description[name] = parameters
    golden.save(arguments.out / "lengths.safetensors", tensors, description)


if __name__ == "__main__":
    main()
