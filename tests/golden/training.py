# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Steps of an optimizer, and what the golden files keep of them."""

import numpy as np


def whole(name, values):
    """All of a tensor, under its name; golden.gradient_values keeps less of large ones."""
    return {name: values.detach().numpy().copy()}


def train(model, optimizer, steps, run, prefix="", keep=whole, trained=None):
    """Trains, and returns tensors by name.

    run() computes the loss, or a tuple of it and what it is made of, and the outputs to keep: a tensor, a dict of
    tensors by name, or None. Kept are {prefix}output (or output/NAME) and {prefix}grad/NAME of the first step,
    {prefix}losses of all steps, and {prefix}trained/NAME of what trained() gives after the last: names and tensors, the
    model's parameters unless said otherwise.
    """
    tensors = {}
    losses = []
    for step in range(steps):
        optimizer.zero_grad()
        loss, outputs = run()
        parts = loss if isinstance(loss, tuple) else (loss,)
        parts[0].backward()
        losses.append([part.item() for part in parts] if isinstance(loss, tuple) else loss.item())
        if step == 0:
            named = outputs if isinstance(outputs, dict) else {} if outputs is None else {"": outputs}
            for name, output in named.items():
                tensors |= whole(f"{prefix}output/{name}".removesuffix("/"), output)
            for name, parameter in model.named_parameters():
                tensors |= keep(f"{prefix}grad/{name}", parameter.grad)
        optimizer.step()
    tensors[f"{prefix}losses"] = np.array(losses)
    for name, values in model.named_parameters() if trained is None else trained():
        tensors |= keep(f"{prefix}trained/{name}", values)
    return tensors
