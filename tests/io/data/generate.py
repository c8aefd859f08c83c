# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes the fixtures of tests/io with the reference implementation (torch, numpy and safetensors from PyPI).

Usage: python generate.py [FOLDER]   (default: the folder of this script)
The committed files came from safetensors 0.8.0 and torch 2.15.0.
"""

import pathlib
import sys

import torch
from safetensors.torch import save_file


def ramp(count, dtype, step=0.5, start=-1.0):
    return (torch.arange(count, dtype=torch.float64) * step + start).to(dtype)


def every_type():
    """One tensor per element type, and the shapes and names that are easy to get wrong."""
    return {
        "f32": ramp(6, torch.float32).reshape(2, 3),
        "f64": torch.tensor([1.0 / 3.0, -1e300, 5e-324], dtype=torch.float64),
        "f16": ramp(4, torch.float16).reshape(2, 2),
        "bf16": ramp(5, torch.bfloat16),
        "i64": torch.tensor([-(2**63), -1, 0, 2**63 - 1]),
        "i32": torch.tensor([[-(2**31)], [2**31 - 1]], dtype=torch.int32),
        "u8": torch.tensor([0, 127, 255], dtype=torch.uint8),
        "bool": torch.tensor([True, False]),
        "scalar": torch.tensor(42.0),
        "empty": torch.zeros(0, 3),
        "größe.重み.🧱": torch.tensor([7.0]),
        'quote" back\\slash / tab\t': torch.tensor([8.0]),
        "unit\x1f": torch.tensor([9.0]),
    }


def writable():
    """What the C++ writer must reproduce byte for byte; it spells control characters with capital digits."""
    return {name: tensor for name, tensor in every_type().items() if name != "unit\x1f"}


def halves():
    """Patterns from every exponent of the 16-bit types, beside what torch converts them to."""
    bits = (torch.arange(1024, dtype=torch.int32) * 64 + torch.arange(1024, dtype=torch.int32) % 64).to(torch.uint16)
    f16, bf16 = bits.view(torch.float16), bits.clone().view(torch.bfloat16)
    return {"f16": f16, "f16.expected": f16.float(), "bf16": bf16, "bf16.expected": bf16.float()}


def state_dict(wrapped):
    network = torch.nn.Sequential()
    network.add_module("conv1", torch.nn.Conv2d(2, 3, 2))
    network.add_module("fc", torch.nn.Linear(4, 2))
    with torch.no_grad():
        for start, parameter in enumerate(network.parameters()):
            parameter.copy_(ramp(parameter.numel(), torch.float32, 0.25, start).reshape(parameter.shape))
    return (torch.nn.DataParallel(network) if wrapped else network).state_dict()


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).parent
    save_file(every_type(), folder / "every_type.safetensors", {"größe": 'a "quoted" text\n'})
    save_file(writable(), folder / "writable.safetensors", {"größe": 'a "quoted" text\n'})
    save_file(halves(), folder / "halves.safetensors")
    save_file(state_dict(False), folder / "state_dict.safetensors", {"format": "pt"})
    save_file(state_dict(True), folder / "state_dict_data_parallel.safetensors", {"format": "pt"})
    save_file({}, folder / "nothing.safetensors")


if __name__ == "__main__":
    main()
