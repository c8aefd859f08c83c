# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes tokens.safetensors: what PyTorch computes in float64 for networks that read tokens.

    python generate_tokens.py [--out DIR]         needs torch, numpy and safetensors

README.md documents the networks and names.
"""

import argparse
import math
import pathlib

import torch
from torch import nn

import generate as golden
import generate_graphs as graphs
import training

VOCABULARY = 11
WIDTH = 6
LENGTH = 5
CONTEXT = 7
PADDING = 3
IGNORED = -100
# Gradients that are zero but for rounding, as that of a key's bias, stay far below eps, or AdamW would make steps of them.
ADAMW = {"lr": 2.0**-8, "betas": (0.875, 0.96875), "eps": 2.0**-16, "weight_decay": 2.0**-4}
ADAMW_STEPS = 20


class Learned(nn.Module):
    """An embedding that pads with token 3, learned positions, and logits that share the embedding's weight."""

    def __init__(self):
        super().__init__()
        self.wte = nn.Embedding(VOCABULARY, WIDTH, padding_idx=PADDING)
        self.wpe = nn.Embedding(CONTEXT, WIDTH)
        self.body = nn.Linear(WIDTH, WIDTH)

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe(torch.arange(LENGTH))
        return torch.tanh(self.body(x)) @ self.wte.weight.T


class Waves(nn.Module):
    """An embedding, the sines and cosines of "Attention is all you need", and logits."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.head = nn.Linear(WIDTH, VOCABULARY)

    def forward(self, tokens):
        position = torch.arange(LENGTH, dtype=torch.float64)[:, None]
        turn = torch.exp(torch.arange(0, WIDTH, 2, dtype=torch.float64) * (-math.log(10000.0) / WIDTH))
        waves = torch.zeros(LENGTH, WIDTH, dtype=torch.float64)
        waves[:, 0::2] = torch.sin(position * turn)
        waves[:, 1::2] = torch.cos(position * turn)
        return self.head(torch.tanh(self.embedding(tokens) + waves))


class CharLstm(nn.Module):
    """A language model of characters."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, WIDTH)
        self.lstm = nn.LSTM(WIDTH, 12, num_layers=2, batch_first=True)
        self.head = nn.Linear(12, VOCABULARY)

    def forward(self, tokens):
        return self.head(self.lstm(self.embedding(tokens))[0])


def run(name, model, length=LENGTH, vocabulary=VOCABULARY, adamw=False):
    """Some steps of SGD, or more of AdamW, from the values that every golden network begins with."""
    batch = graphs.BATCH
    parameters = golden.initialize(model)
    tokens = golden.labels(golden.INPUT_STREAM, batch * length, vocabulary)
    targets = golden.labels(golden.LABEL_STREAM, batch * length, vocabulary + 1)
    targets[targets == vocabulary] = IGNORED
    tokens = torch.from_numpy(tokens).reshape(batch, length)
    targets = torch.from_numpy(targets)
    if adamw:
        optimizer = torch.optim.AdamW(model.parameters(), **ADAMW)
    else:
        optimizer = torch.optim.SGD(model.parameters(), **graphs.OPTIMIZER)

    def run():
        output = model(tokens)
        return nn.CrossEntropyLoss(ignore_index=IGNORED)(output.flatten(0, 1), targets), {"output": output}

    return training.train(model, optimizer, ADAMW_STEPS if adamw else graphs.STEPS, run, f"{name}/"), parameters


def main():
    parser = argparse.ArgumentParser(description="Write the golden values of networks that read tokens.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    golden.check_philox()
    tensors = {}
    description = {"batch": graphs.BATCH, "steps": graphs.STEPS, "optimizer": graphs.OPTIMIZER,
                   "vocabulary": VOCABULARY, "length": LENGTH, "padding": PADDING, "ignored": IGNORED,
                   "adamw": ADAMW, "adamw_steps": ADAMW_STEPS}
    for name, model in (("learned", Learned()), ("waves", Waves()), ("char_lstm", CharLstm())):
        own, parameters = run(name, model.to(torch.float64), adamw=name == "char_lstm")
        tensors |= own
        description[name] = parameters
    golden.save(arguments.out / "tokens.safetensors", tensors, description)


if __name__ == "__main__":
    main()
