# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes optimizers.safetensors and schedules.safetensors: what PyTorch's optimizers and learning rate schedulers do.

    python generate_optimizers.py [--out DIR]         needs torch, numpy and safetensors

Inputs are drawn as in generate.py. README.md documents streams, names and cases.
"""

import argparse
import pathlib
import warnings

import numpy as np
import torch
from torch.optim import lr_scheduler

from generate import as_tensor, check_philox, save, symmetric

ELEMENTS = 37
STEPS = 20


class Lion(torch.optim.Optimizer):
    """Algorithm 2 of Chen et al., "Symbolic Discovery of Optimization Algorithms" (2023), line by line."""

    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0, maximize=False):
        super().__init__(params, {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            beta1, beta2 = group["betas"]
            for theta in group["params"]:
                m = self.state[theta].setdefault("m", torch.zeros_like(theta))
                g = -theta.grad if group["maximize"] else theta.grad
                c = beta1 * m + (1 - beta1) * g
                theta -= group["lr"] * (torch.sign(c) + group["weight_decay"] * theta)
                m.copy_(beta2 * m + (1 - beta2) * g)


OPTIMIZERS = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "nadam": torch.optim.NAdam,
    "rmsprop": torch.optim.RMSprop,
    "lion": Lion,
}

# Case: options. The order gives the streams; add new cases at the end.
CASES = {
    "sgd/maximize": {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.05, "nesterov": True, "maximize": True},
    "adam/default": {},
    "adam/options": {"lr": 0.1, "betas": [0.5, 0.9], "eps": 0.1},
    "adam/weight_decay": {"lr": 0.02, "weight_decay": 0.05},
    "adam/amsgrad": {"lr": 0.02, "betas": [0.9, 0.7], "amsgrad": True},
    "adam/maximize": {"lr": 0.02, "weight_decay": 0.05, "amsgrad": True, "maximize": True},
    "adam/no_momentum": {"lr": 0.02, "betas": [0.0, 0.99]},
    "adamw/default": {},
    "adamw/weight_decay": {"lr": 0.05, "weight_decay": 0.3},
    "adamw/amsgrad": {"lr": 0.02, "betas": [0.8, 0.6], "weight_decay": 0.1, "amsgrad": True},
    "adamw/maximize": {"lr": 0.05, "weight_decay": 0.3, "maximize": True},
    "nadam/default": {},
    "nadam/momentum_decay": {"lr": 0.02, "betas": [0.7, 0.9], "momentum_decay": 0.5},
    "nadam/weight_decay": {"lr": 0.02, "weight_decay": 0.05},
    "nadam/decoupled": {"lr": 0.02, "weight_decay": 0.3, "decoupled_weight_decay": True},
    "nadam/maximize": {"lr": 0.02, "weight_decay": 0.05, "maximize": True},
    "rmsprop/default": {},
    "rmsprop/options": {"lr": 0.02, "alpha": 0.5, "eps": 0.1, "weight_decay": 0.05},
    "rmsprop/momentum": {"lr": 0.002, "momentum": 0.9},
    "rmsprop/centered": {"lr": 0.002, "alpha": 0.9, "eps": 0.01, "centered": True},
    "rmsprop/centered_momentum": {
        "lr": 0.002,
        "alpha": 0.9,
        "eps": 0.01,
        "momentum": 0.5,
        "weight_decay": 0.05,
        "centered": True,
        "maximize": True,
    },
    "lion/default": {},
    "lion/options": {"lr": 0.01, "betas": [0.5, 0.8], "weight_decay": 0.3},
    "lion/maximize": {"lr": 0.01, "weight_decay": 0.3, "maximize": True},
}


def run_optimizer(name, options, stream):
    parameter = as_tensor(symmetric(stream, ELEMENTS), [ELEMENTS]).requires_grad_()
    options = {key: tuple(value) if key == "betas" else value for key, value in options.items()}
    optimizer = OPTIMIZERS[name]([parameter], **options)
    after = []
    for step in range(STEPS):
        bound = 2.0 ** -(step % 3)
        parameter.grad = as_tensor(symmetric(stream + 10 + step, ELEMENTS, bound), [ELEMENTS])
        optimizer.step()
        after.append(parameter.detach().clone())
    return torch.stack(after).numpy()


def run_optimizers():
    tensors = {}
    description = []
    for index, (case, options) in enumerate(CASES.items()):
        stream = 80000 + 100 * index
        tensors[case] = run_optimizer(case.split("/")[0], options, stream)
        description.append({"name": case, "stream": stream} | options)
    return tensors, {"elements": ELEMENTS, "steps": STEPS, "cases": description}


def run_schedule(make, steps, metric=None):
    """The learning rates of `steps` steps; the optimizer's own is 1, so that they are factors."""
    parameter = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    schedule = make(optimizer)
    factors = []
    for step in range(steps):
        factors.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if metric is None:
            schedule.step()
        else:
            schedule.step(metric(step))
    return np.array(factors)


def metrics(step):
    """Falls, stays, falls again: what a schedule that waits for a plateau is shown."""
    return float([1.0, 0.5, 0.3, 0.3, 0.31, 0.3, 0.29999, 0.35][step % 8] if step < 24 else 0.2 - 0.001 * (step % 5))


def run_schedules():
    def warm(after):
        def make(optimizer):
            first = lr_scheduler.LinearLR(optimizer, start_factor=0.1, total_iters=7)
            return lr_scheduler.SequentialLR(optimizer, [first, after(optimizer)], milestones=[7])

        return make

    tensors = {
        "step": run_schedule(lambda o: lr_scheduler.StepLR(o, step_size=7, gamma=0.3), 40),
        "multi_step": run_schedule(lambda o: lr_scheduler.MultiStepLR(o, milestones=[3, 10, 25], gamma=0.2), 40),
        "cosine": run_schedule(lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=39, eta_min=0.05), 40),
        "linear": run_schedule(
            lambda o: lr_scheduler.LinearLR(o, start_factor=0.25, end_factor=0.75, total_iters=12), 40
        ),
        "one_cycle": run_schedule(
            lambda o: lr_scheduler.OneCycleLR(o, max_lr=1.0, total_steps=40, cycle_momentum=False), 40
        ),
        "one_cycle_linear": run_schedule(
            lambda o: lr_scheduler.OneCycleLR(
                o,
                max_lr=1.0,
                total_steps=40,
                pct_start=0.2,
                anneal_strategy="linear",
                cycle_momentum=False,
                div_factor=10,
                final_div_factor=100,
            ),
            40,
        ),
        "one_cycle_three_phases": run_schedule(
            lambda o: lr_scheduler.OneCycleLR(
                o, max_lr=1.0, total_steps=40, pct_start=0.4, cycle_momentum=False, three_phase=True
            ),
            40,
        ),
        "warm_up_cosine": run_schedule(warm(lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=33)), 40),
        "plateau": run_schedule(
            lambda o: lr_scheduler.ReduceLROnPlateau(o, factor=0.5, patience=2, cooldown=1, min_lr=0.1), 40, metrics
        ),
        "plateau_max_abs": run_schedule(
            lambda o: lr_scheduler.ReduceLROnPlateau(
                o, mode="max", factor=0.2, patience=1, threshold=0.05, threshold_mode="abs"
            ),
            40,
            lambda step: -metrics(step),
        ),
        "plateau_metrics": np.array([metrics(step) for step in range(40)]),
    }
    return tensors, {}


def main():
    parser = argparse.ArgumentParser(description="Write what PyTorch's optimizers and schedulers do, in float64.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)  # of NAdam's product of the mu too
    check_philox()
    # SequentialLR calls the schedulers before the first step of the optimizer.
    warnings.filterwarnings("ignore", message=".*lr_scheduler.step.*")
    save(arguments.out / "optimizers.safetensors", *run_optimizers())
    save(arguments.out / "schedules.safetensors", *run_schedules())


if __name__ == "__main__":
    main()
