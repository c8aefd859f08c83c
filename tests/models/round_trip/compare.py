# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What check.py and gpt2.py compare with."""

import pathlib

import torch

ROOT = pathlib.Path(__file__).resolve().parents[3]
LIMIT = 1e-4


class CheckError(Exception):
    """Ends the program with its text on stderr."""


def difference(given, expected):
    """The largest difference over the largest magnitude; nan when a value is not finite."""
    if given.shape != expected.shape:
        raise CheckError(f"outputs of shape {tuple(given.shape)}, not {tuple(expected.shape)}")
    return ((given.double() - expected.double()).abs().max() / expected.double().abs().max()).item()


def changed_tensors(given, expected):
    """Names that one side lacks, or whose types or values differ. A strict load does not see all of these: it converts
    types, and takes a missing num_batches_tracked for 0."""
    return [
        key
        for key in sorted(given.keys() | expected.keys())
        if key not in given
        or key not in expected
        or given[key].dtype != expected[key].dtype
        or not torch.equal(given[key], expected[key])
    ]
