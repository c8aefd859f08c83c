# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes vit.safetensors: what a small vision transformer computes in float64, and the names of vit_tiny's tensors.

    python generate_vit.py [--out DIR] [--models DIR]         needs torch, numpy and safetensors

README.md documents the streams and names.
"""

import argparse
import pathlib

import numpy as np
import torch
from torch import nn

import generate as golden
import generate_tokens as text
import training

EXTENTS = [5, 3, 8, 12]  # of a batch
CLASSES = 5


class ViT(nn.Module):
    """Patches to rows, which learn of each other; the logits of the mean row."""

    def __init__(self, patch, positions, layers, heads, width, classes):
        super().__init__()
        self.patches = nn.Conv2d(3, width, patch, stride=patch)
        self.positions = nn.Embedding(positions, width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, heads, 4 * width, dropout=0.0, activation="gelu", norm_first=True, batch_first=True
            )
            for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, x):
        x = self.patches(x).flatten(2).transpose(1, 2) + self.positions.weight
        for layer in self.layers:
            x = layer(x)
        return self.head(self.norm(x).mean(1))


def main():
    here = pathlib.Path(__file__).resolve().parent
    parser = argparse.ArgumentParser(description="Write the golden values of a vision transformer.")
    parser.add_argument("--out", type=pathlib.Path, default=here)
    parser.add_argument("--models", type=pathlib.Path, default=here.parent / "models")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    golden.check_philox()

    model = ViT(4, 6, 2, 2, 16, CLASSES).to(torch.float64)
    with torch.no_grad():
        for index, (_, parameter) in enumerate(sorted(model.named_parameters())):
            fan_in = parameter[0].numel() if parameter.dim() > 1 else 4
            values = golden.symmetric(golden.PARAMETER_STREAM + index, parameter.numel(), golden.fan_in_bound(fan_in))
            parameter.copy_(golden.as_tensor(values, parameter.shape))
    x = golden.as_tensor(golden.symmetric(golden.INPUT_STREAM, int(np.prod(EXTENTS))), EXTENTS)
    y = torch.from_numpy(golden.labels(golden.LABEL_STREAM, EXTENTS[0], CLASSES))
    optimizer = torch.optim.AdamW(model.parameters(), **text.ADAMW)

    def run():
        output = model(x)
        return nn.functional.cross_entropy(output, y), {"output": output}

    tensors = training.train(model, optimizer, text.ADAMW_STEPS, run, "vit/", golden.gradient_values)
    golden.save(
        arguments.out / "vit.safetensors",
        tensors,
        {"extents": EXTENTS, "classes": CLASSES, "adamw": text.ADAMW, "steps": text.ADAMW_STEPS},
    )

    tiny = ViT(4, 64, 6, 3, 192, 10)
    lines = [f"{name} {'x'.join(str(n) for n in each.shape)}\n" for name, each in tiny.named_parameters()]
    (arguments.models / "vit_tiny.txt").write_text("".join(sorted(lines)))
    print(sum(each.numel() for each in tiny.parameters()), "parameters of vit_tiny")


if __name__ == "__main__":
    main()
