# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes muon.safetensors: what torch.optim.Muon and torch.optim.AdamW make of a small network in 20 steps, in float64.

    python generate_muon.py [--out DIR]         needs torch 2.11 or later, numpy and safetensors

README.md documents the cases and names.
"""

import argparse
import inspect
import pathlib

import numpy as np
import torch
from torch.nn import functional
from torch.optim import _muon

import generate as golden

BATCH = 24
STEPS = 20
CLASSES = 5
INPUT = [2, 4, 4]
# Name: shape, inputs of an output. A bias is drawn with the bound of its weight.
PARAMETERS = {
    "conv.weight": ([6, 2, 3, 3], 18),
    "conv.bias": ([6], 18),
    "a.weight": ([20, 96], 96),
    "a.bias": ([20], 96),
    "b.weight": ([28, 20], 20),
    "b.bias": ([28], 20),
    "head.weight": ([CLASSES, 28], 28),
    "head.bias": ([CLASSES], 28),
}
ADAMW = {"lr": 3e-3, "weight_decay": 0.02}
MATRICES = ["a.weight", "b.weight", "head.weight"]
# Case: which parameters Muon takes, its options, and the factors of (lr, weight_decay) of single parameters.
CASES = {
    "default": (MATRICES, {"lr": 0.02}, {}),
    "options": (
        MATRICES,
        {
            "lr": 0.01,
            "weight_decay": 0.3,
            "momentum": 0.8,
            "nesterov": False,
            "ns_coefficients": (3.0, -3.2, 1.2),
            "eps": 0.5,
            "ns_steps": 3,
            "adjust_lr_fn": "match_rms_adamw",
        },
        {},
    ),
    "without_head": (["a.weight", "b.weight"], {"lr": 0.02, "adjust_lr_fn": "spectral_unclamped"}, {}),
    "kernels": (["conv.weight", *MATRICES], {"lr": 0.02, "adjust_lr_fn": "match_rms_adamw"}, {}),
    "groups": (MATRICES, {"lr": 0.02}, {"a.weight": (0.5, 0.0), "a.bias": (0.5, 0.0)}),
}


def in_full_precision():
    """Makes PyTorch's Muon iterate in the type of the parameters, where it would round to bfloat16."""
    source = inspect.getsource(_muon._zeropower_via_newtonschulz)
    assert source.count("dtype=torch.bfloat16") == 1
    exec(source.replace("dtype=torch.bfloat16", "dtype=grad.dtype"), _muon.__dict__)


def forward(parameters, x):
    kernel = parameters["conv.weight"].view(PARAMETERS["conv.weight"][0])
    x = functional.relu(functional.conv2d(x, kernel, parameters["conv.bias"], padding=1)).flatten(1)
    for name in ["a", "b"]:
        x = functional.relu(functional.linear(x, parameters[f"{name}.weight"], parameters[f"{name}.bias"]))
    return functional.linear(x, parameters["head.weight"], parameters["head.bias"])


def run(case):
    matrices, options, factors = CASES[case]
    parameters = {}
    for index, (name, (shape, inputs)) in enumerate(PARAMETERS.items()):
        values = golden.symmetric(golden.PARAMETER_STREAM + index, int(np.prod(shape)), golden.fan_in_bound(inputs))
        tensor = golden.as_tensor(values, shape)
        # Muon takes no kernel, but the same numbers as a matrix.
        parameters[name] = (tensor.flatten(1) if name in matrices else tensor).clone().requires_grad_()

    def groups(names, lr, weight_decay):
        return [
            {
                "params": [parameters[name]],
                "lr": lr * factors.get(name, (1, 1))[0],
                "weight_decay": weight_decay * factors.get(name, (1, 1))[1],
            }
            for name in names
        ]

    muon = torch.optim.Muon(groups(matrices, options["lr"], options.get("weight_decay", 0.1)), **options)
    rest = [name for name in PARAMETERS if name not in matrices]
    adamw = torch.optim.AdamW(groups(rest, ADAMW["lr"], ADAMW["weight_decay"]), **ADAMW)
    x = golden.as_tensor(golden.unit(golden.INPUT_STREAM, BATCH * int(np.prod(INPUT))), [BATCH, *INPUT])
    y = torch.from_numpy(golden.labels(golden.LABEL_STREAM, BATCH, CLASSES))
    losses = []
    for _ in range(STEPS):
        loss = functional.cross_entropy(forward(parameters, x), y)
        muon.zero_grad()
        adamw.zero_grad()
        loss.backward()
        losses.append(loss.item())
        muon.step()
        adamw.step()
    tensors = {f"{case}/losses": np.array(losses)}
    for name, value in parameters.items():
        tensors[f"{case}/{name}"] = value.detach().reshape(PARAMETERS[name][0]).numpy().copy()
    return tensors


def main():
    parser = argparse.ArgumentParser(description="Write what PyTorch's Muon does, in float64.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    golden.check_philox()
    in_full_precision()
    tensors = {}
    for case in CASES:
        tensors |= run(case)
    description = {"batch": BATCH, "steps": STEPS, "adamw": ADAMW, "cases": {case: CASES[case][1] for case in CASES}}
    golden.save(arguments.out / "muon.safetensors", tensors, description)


if __name__ == "__main__":
    main()
