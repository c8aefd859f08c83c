# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes augment.safetensors: how often torchvision's RandomErasing draws boxes of each extents.

    python generate_augment.py [--out DIR]         needs torch, torchvision and safetensors

README.md documents the cases and names.
"""

import argparse
import pathlib

import safetensors.torch
import torch
from torchvision import transforms

DRAWS = 50_000
# By case: rows, columns, scale, ratio.
CASES = {
    "erasing/default": (12, 10, (0.02, 0.33), (0.3, 3.3)),
    "erasing/large": (9, 14, (0.3, 0.8), (0.5, 4.0)),
    "erasing/small": (32, 32, (0.002, 0.01), (0.25, 1.0)),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    args = parser.parse_args()
    torch.manual_seed(2024)
    tensors = {}
    for name, (rows, columns, scale, ratio) in CASES.items():
        counts = torch.zeros(rows, columns, dtype=torch.float64)
        picture = torch.zeros(1, rows, columns)
        for _ in range(DRAWS):
            _, _, height, width, _ = transforms.RandomErasing.get_params(picture, scale, ratio, [0.0])
            # Where no box fits, torchvision names the whole picture: counted as no box.
            counts[(0, 0) if (height, width) == (rows, columns) else (height, width)] += 1
        tensors[name] = counts
    safetensors.torch.save_file(tensors, args.out / "augment.safetensors")


if __name__ == "__main__":
    main()
