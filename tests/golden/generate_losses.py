# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes losses.safetensors: what PyTorch's losses and their gradients are in float64.

    python generate_losses.py [--out DIR]         needs torch, numpy and safetensors

README.md documents the cases and names.
"""

import argparse
import pathlib

import numpy as np
import torch
from torch import nn

import generate as golden

# By case: stream, extents of a batch, the loss, its options.
CASES = {
    "l1/plain": (92000, [7, 5], nn.L1Loss, {}),
    "l1/picture": (92100, [3, 2, 4, 5], nn.L1Loss, {}),
    "smooth_l1/plain": (92200, [7, 5], nn.SmoothL1Loss, {}),
    "smooth_l1/beta": (92300, [3, 2, 4, 5], nn.SmoothL1Loss, {"beta": 0.375}),
    "smooth_l1/large_beta": (92400, [4, 3, 6], nn.SmoothL1Loss, {"beta": 20.0}),
    "smooth_l1/no_beta": (92500, [7, 5], nn.SmoothL1Loss, {"beta": 0.0}),
    "huber/plain": (92600, [7, 5], nn.HuberLoss, {}),
    "huber/delta": (92700, [3, 2, 4, 5], nn.HuberLoss, {"delta": 0.375}),
    "huber/large_delta": (92800, [4, 3, 6], nn.HuberLoss, {"delta": 2.5}),
    "binary_cross_entropy/plain": (93000, [7, 5], nn.BCEWithLogitsLoss, {}),
    "binary_cross_entropy/picture": (93100, [3, 2, 4, 5], nn.BCEWithLogitsLoss, {}),
    "binary_cross_entropy/one_weight": (93200, [4, 3, 6], nn.BCEWithLogitsLoss, {"pos_weight": [2.5]}),
    "binary_cross_entropy/weights": (93300, [7, 5], nn.BCEWithLogitsLoss, {"pos_weight": [5]}),
    "binary_cross_entropy/weights_of_a_picture": (93400, [3, 2, 4, 5], nn.BCEWithLogitsLoss, {"pos_weight": [2, 4, 5]}),
    "kullback_leibler/plain": (94000, [7, 5], nn.KLDivLoss, {"reduction": "batchmean"}),
    "kullback_leibler/picture": (94100, [3, 2, 4, 5], nn.KLDivLoss, {"reduction": "batchmean"}),
    "kullback_leibler/log_target": (94200, [7, 5], nn.KLDivLoss, {"reduction": "batchmean", "log_target": True}),
    "kullback_leibler/mean": (94300, [4, 3, 6], nn.KLDivLoss, {"reduction": "mean"}),
    "negative_log_likelihood/plain": (95000, [9, 7], nn.NLLLoss, {}),
    "negative_log_likelihood/weights": (95100, [9, 7], nn.NLLLoss, {"weight": [7]}),
    "negative_log_likelihood/ignored": (95200, [9, 7], nn.NLLLoss, {"weight": [7], "ignore_index": 2}),
}

# Each output with each target: all exact in float32.
EXTREMES = {
    "outputs": [sign * x for x in (0.0, 2.0**-30, 1.0, 16.0, 80.0, 104.0, 720.0, 16384.0) for sign in (1.0, -1.0)],
    "targets": [0.0, 0.25, 1.0],
}
EXTREME_LOSSES = {
    "l1": (nn.L1Loss, {}),
    "smooth_l1": (nn.SmoothL1Loss, {"beta": 0.5}),
    "huber": (nn.HuberLoss, {"delta": 2.0}),
    "binary_cross_entropy": (nn.BCEWithLogitsLoss, {"pos_weight": torch.tensor([3.0], dtype=torch.float64)}),
    "kullback_leibler": (nn.KLDivLoss, {}),
    "log_target": (nn.KLDivLoss, {"log_target": True}),
}

BATCH = 5
STEPS = 5
# All exact in float32.
OPTIMIZER = {"lr": 0.0625, "momentum": 0.875}


def targets_of(build, stream, extents, options):
    count = int(np.prod(extents))
    if build is nn.NLLLoss:
        return torch.from_numpy(golden.labels(stream + 1, extents[0], extents[1]))
    if build is nn.KLDivLoss and options.get("log_target"):
        return golden.as_tensor(golden.symmetric(stream + 1, count, 3.0) - np.float32(3), extents)
    values = golden.unit(stream + 1, count)
    if build in (nn.BCEWithLogitsLoss, nn.KLDivLoss):
        # A third of them are 0, a third 1.
        kind = golden.labels(stream + 2, count, 3)
        values = np.where(kind == 0, np.float32(0), np.where(kind == 1, np.float32(1), values))
    return golden.as_tensor(values, extents)


def run_case(name, stream, extents, build, options):
    options = dict(options)
    for weight in ("pos_weight", "weight"):
        if isinstance(options.get(weight), list) and all(isinstance(e, int) for e in options[weight]):
            shape = options[weight]
            options[weight] = golden.as_tensor(golden.unit(stream + 3, int(np.prod(shape))), shape)
        elif weight in options:
            options[weight] = torch.tensor(options[weight], dtype=torch.float64)
    x = golden.as_tensor(golden.symmetric(stream, int(np.prod(extents)), 4.0), extents)
    x.requires_grad_()
    loss = build(**options)(x, targets_of(build, stream, extents, options))
    loss.backward()
    return {f"{name}/loss": np.array([loss.item()]), f"{name}/grad_x": x.grad.numpy().copy()}


def run_extremes(name, build, options):
    """The loss of each element alone."""
    x, t = torch.meshgrid(*(torch.tensor(EXTREMES[k], dtype=torch.float64) for k in ("outputs", "targets")), indexing="ij")
    x = x.clone().requires_grad_()
    values = build(reduction="none", **options)(x, t)
    values.sum().backward()
    return {f"extremes/{name}/values": values.detach().numpy().copy(), f"extremes/{name}/gradients": x.grad.numpy().copy()}


class Painter(nn.Module):
    """Pictures of 2x6x5 to pictures of 3x4x3."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 3, 3)

    def forward(self, x):
        return self.conv2(torch.relu(self.conv1(x)))


MODELS = {
    "l1": lambda: nn.L1Loss(),
    "smooth_l1": lambda: nn.SmoothL1Loss(beta=0.25),
    "huber": lambda: nn.HuberLoss(delta=0.25),
    "binary_cross_entropy": lambda: nn.BCEWithLogitsLoss(pos_weight=golden.as_tensor(golden.unit(4, 36), [3, 4, 3])),
    "kullback_leibler": lambda: nn.KLDivLoss(reduction="batchmean"),
}


def run_steps(prefix, model, criterion, x, targets):
    """Losses of some steps on one batch, and the gradients of the first."""
    optimizer = torch.optim.SGD(model.parameters(), **OPTIMIZER)
    tensors = {}
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = criterion(model(x), targets)
        loss.backward()
        losses.append(loss.item())
        if step == 0:
            for each, parameter in model.named_parameters():
                tensors[f"{prefix}/grad/{each}"] = parameter.grad.numpy().copy()
        optimizer.step()
    tensors[f"{prefix}/losses"] = np.array(losses)
    return tensors


def run_model(name, criterion):
    model = Painter().to(torch.float64)
    golden.initialize(model)
    x = golden.as_tensor(golden.symmetric(golden.INPUT_STREAM, BATCH * 60), [BATCH, 2, 6, 5])
    y = golden.as_tensor(golden.unit(golden.TARGET_STREAM, BATCH * 36), [BATCH, 3, 4, 3])
    return run_steps(f"model/{name}", model, criterion, x, y)


class Rows(nn.Module):
    """Rows of 6 to logits of 5 classes."""

    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(6, 8)
        self.fc2 = nn.Linear(8, 5)

    def forward(self, x):
        return self.fc2(torch.relu(self.fc1(x)))


def run_soft_targets(name, smoothing, targets):
    """Cross entropy with probabilities of classes."""
    model = Rows().to(torch.float64)
    golden.initialize(model)
    x = golden.as_tensor(golden.symmetric(golden.INPUT_STREAM, BATCH * 6), [BATCH, 6])
    criterion = nn.CrossEntropyLoss(label_smoothing=smoothing)
    return run_steps(name, model, criterion, x, targets)


def main():
    parser = argparse.ArgumentParser(description="Write the golden values of losses.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    golden.check_philox()
    tensors = {}
    description = {"cases": {}, "batch": BATCH, "steps": STEPS, "optimizer": OPTIMIZER, "models": list(MODELS), "extremes": EXTREMES}
    for name, (stream, extents, build, options) in CASES.items():
        tensors |= run_case(name, stream, extents, build, options)
        description["cases"][name] = {
            "stream": stream, "extents": extents, "loss": build.__name__, "options": options
        }
    for name, (build, options) in EXTREME_LOSSES.items():
        tensors |= run_extremes(name, build, options)
    for name, criterion in MODELS.items():
        tensors |= run_model(name, criterion())
    # Rounded to float32, so that both sides have the same; a row then adds up to 1 but for that.
    logits = golden.as_tensor(golden.symmetric(golden.TARGET_STREAM, BATCH * 5, 3.0), [BATCH, 5])
    targets = torch.softmax(logits, dim=1).to(torch.float32).to(torch.float64)
    tensors["soft_targets/targets"] = targets.numpy().copy()
    for name, smoothing in {"plain": 0.0, "smoothed": 0.125}.items():
        tensors |= run_soft_targets(f"soft_targets/{name}", smoothing, targets)
    golden.save(arguments.out / "losses.safetensors", tensors, description)


if __name__ == "__main__":
    main()
