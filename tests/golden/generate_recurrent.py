# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes recurrent.safetensors: what PyTorch computes in float64 for LSTM, GRU and RNN.

    python generate_recurrent.py [--out DIR]         needs torch, numpy and safetensors

README.md documents the cases and names.
"""

import argparse
import pathlib

import numpy as np
import torch
from torch import nn

import generate as golden
import training

# By case: stream, samples, steps, features, what the test reads ("steps" or "last"), the module.
LAYERS = {
    "lstm/one_step": (200000, 3, 1, 4, "steps", lambda: nn.LSTM(4, 5)),
    "lstm/steps": (200100, 5, 7, 3, "steps", lambda: nn.LSTM(3, 19)),
    "lstm/wide": (200200, 4, 5, 6, "steps", lambda: nn.LSTM(6, 24)),
    "lstm/long": (200300, 2, 60, 2, "steps", lambda: nn.LSTM(2, 8)),
    "lstm/layers": (200400, 3, 6, 4, "steps", lambda: nn.LSTM(4, 9, num_layers=3)),
    "lstm/both": (200500, 3, 6, 4, "steps", lambda: nn.LSTM(4, 9, num_layers=2, bidirectional=True)),
    "lstm/last": (200600, 3, 6, 4, "last", lambda: nn.LSTM(4, 9, num_layers=2)),
    "lstm/both_last": (200700, 3, 6, 4, "last", lambda: nn.LSTM(4, 9, num_layers=2, bidirectional=True, bias=False)),
    "gru/one_step": (201000, 3, 1, 4, "steps", lambda: nn.GRU(4, 5)),
    "gru/steps": (201100, 5, 7, 3, "steps", lambda: nn.GRU(3, 19)),
    "gru/both": (201200, 3, 6, 4, "steps", lambda: nn.GRU(4, 9, num_layers=2, bidirectional=True)),
    "gru/both_last": (201300, 3, 6, 4, "last", lambda: nn.GRU(4, 9, num_layers=2, bidirectional=True, bias=False)),
    "rnn/steps": (202000, 5, 7, 3, "steps", lambda: nn.RNN(3, 19)),
    "rnn/relu": (202100, 5, 7, 3, "steps", lambda: nn.RNN(3, 19, nonlinearity="relu")),
    "rnn/both_last": (202200, 3, 6, 4, "last", lambda: nn.RNN(4, 9, num_layers=2, bidirectional=True, bias=False)),
}
BATCH = 5
STEPS = 5
CARRIED = [5, 5, 5, 4, 4]  # samples of each step that carries states
# All exact in float32.
OPTIMIZER = {"lr": 0.25, "momentum": 0.875, "weight_decay": 2.0**-10}


def read(module, x, what):
    """The states after each step, or those of the last layer after the last step of each direction."""
    states, last = module(x)
    if what == "steps":
        return states
    last = last[0] if isinstance(last, tuple) else last
    directions = 2 if module.bidirectional else 1
    return torch.cat(list(last[-directions:]), dim=-1)


def run_layer(name, stream, samples, steps, features, what, build):
    """One batch, whose gradient arrives from a mean squared error."""
    module = build().to(torch.float64)
    module.batch_first = True
    bound = np.float32(1 / np.sqrt(np.float64(module.hidden_size)))
    with torch.no_grad():
        for at, parameter in enumerate(module.parameters()):
            values = golden.symmetric(stream + 20 + at, parameter.numel(), bound)
            parameter.copy_(golden.as_tensor(values, list(parameter.shape)))
    x = golden.as_tensor(golden.symmetric(stream, samples * steps * features), [samples, steps, features])
    x.requires_grad_()
    y = read(module, x, what)
    target = golden.as_tensor(golden.symmetric(stream + 10, y.numel()), list(y.shape))
    nn.functional.mse_loss(y, target).backward()
    tensors = {f"{name}/output": y, f"{name}/grad_x": x.grad}
    for each, parameter in module.named_parameters():
        tensors[f"{name}/grad_{each}"] = parameter.grad
    return {each: values.detach().numpy().copy() for each, values in tensors.items()}


class Tagger(nn.Module):
    """A class for each of 6 steps of 3 features."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(3, 12, num_layers=2, batch_first=True)
        self.head = nn.Linear(12, 4)

    def forward(self, x, states=(None,)):
        x, after = self.lstm(x, states[0])
        return self.head(x), [after]


class Mixed(nn.Module):
    """The same with the other two cells."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(3, 12, batch_first=True)
        self.rnn = nn.RNN(12, 7, batch_first=True)
        self.head = nn.Linear(7, 4)

    def forward(self, x, states=(None, None)):
        x, first = self.gru(x, states[0])
        x, second = self.rnn(x, states[1])
        return self.head(x), [first, second]


def begin(model):
    bound = np.float32(1 / np.sqrt(np.float64(12)))
    with torch.no_grad():
        for at, parameter in enumerate(model.parameters()):
            values = golden.symmetric(100 + at, parameter.numel(), bound)
            parameter.copy_(golden.as_tensor(values, list(parameter.shape)))
    return model


def detached(state):
    return tuple(each.detach() for each in state) if isinstance(state, tuple) else state.detach()


def run_carried(name, build):
    """Steps that begin with the states of the one before, then others of fewer samples, which begin anew."""
    model = begin(build().to(torch.float64))
    optimizer = torch.optim.SGD(model.parameters(), **OPTIMIZER)
    tensors = {}
    losses = []
    for step, samples in enumerate(CARRIED):
        x = golden.as_tensor(golden.symmetric(300 + step, samples * 6 * 3), [samples, 6, 3])
        y = golden.as_tensor(golden.symmetric(400 + step, samples * 6 * 4), [samples, 6, 4])
        begins = step == 0 or samples != CARRIED[step - 1]
        optimizer.zero_grad()
        output, states = model(x) if begins else model(x, [detached(each) for each in states])
        loss = nn.functional.mse_loss(output, y)
        loss.backward()
        losses.append(loss.item())
        for each, parameter in model.named_parameters() if step in (2, 3) else ():
            tensors[f"{name}/grad_{step}/{each}"] = parameter.grad.numpy().copy()
        optimizer.step()
    tensors[f"{name}/losses"] = np.array(losses)
    for each, parameter in model.named_parameters():
        tensors[f"{name}/trained/{each}"] = parameter.detach().numpy().copy()
    return tensors


def run_model():
    model = begin(Tagger().to(torch.float64))
    x = golden.as_tensor(golden.symmetric(golden.INPUT_STREAM, BATCH * 6 * 3), [BATCH, 6, 3])
    y = golden.as_tensor(golden.symmetric(golden.TARGET_STREAM, BATCH * 6 * 4), [BATCH, 6, 4])
    optimizer = torch.optim.SGD(model.parameters(), **OPTIMIZER)

    def run():
        output, _ = model(x)
        return nn.functional.mse_loss(output, y), {"output": output}

    return training.train(model, optimizer, STEPS, run, "tagger/")


def main():
    parser = argparse.ArgumentParser(description="Write the golden values of recurrent layers.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    golden.check_philox()
    tensors = {}
    description = {"layers": {}, "batch": BATCH, "steps": STEPS, "carried": CARRIED, "optimizer": OPTIMIZER}
    for name, (stream, samples, steps, features, what, build) in LAYERS.items():
        tensors |= run_layer(name, stream, samples, steps, features, what, build)
        description["layers"][name] = {
            "stream": stream,
            "extents": [samples, steps, features],
            "output": what,
            "module": repr(build()),
        }
    tensors |= run_carried("carried/lstm", Tagger) | run_carried("carried/mixed", Mixed)
    golden.save(arguments.out / "recurrent.safetensors", tensors | run_model(), description)


if __name__ == "__main__":
    main()
