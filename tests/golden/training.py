# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Steps of an optimizer, and what the golden files keep of them."""

import numpy as np


def whole(name, values):
    """All of a tensor, under its name; golden.gradient_values keeps less of large ones."""
    return {name: values.detach().numpy().copy()}


def train(model, optimizer, steps, run, prefix="", keep=whole, trained=None):
    """Trains, and returns tensors by name.

    run() computes the loss, or a list of it and what it is made of, and the outputs to keep, by name. Kept are
    {prefix}NAME of these and {prefix}grad/NAME of the first step, {prefix}losses of all steps, and {prefix}trained/NAME
    of what trained() gives after the last: names and tensors, the model's parameters unless said otherwise.
    """
    tensors = {}
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss, outputs = run()
        parts = loss if isinstance(loss, list) else [loss]
        parts[0].backward()
        losses.append([part.item() for part in parts])
        if step == 0:
            for name, output in outputs.items():
                tensors |= whole(prefix + name, output)
            for name, parameter in model.named_parameters():
                tensors |= keep(f"{prefix}grad/{name}", parameter.grad)
        optimizer.step()
    table = np.array(losses)
    tensors[f"{prefix}losses"] = table[:, 0] if table.shape[1] == 1 else table
    for name, values in model.named_parameters() if trained is None else trained():
        tensors |= keep(f"{prefix}trained/{name}", values)
    return tensors
