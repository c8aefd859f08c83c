# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Passes the states of torchvision's resnet18 and vgg16 to lockstep and back, and compares the outputs.

    python check.py [--bin PROGRAM] [--batch 2] [--models resnet18,vgg16]       needs torch, torchvision and safetensors

Out: torchvision saves a state of random values as safetensors; the program round_trip loads it, and its outputs for a
batch of random pictures are compared with torchvision's. Back: round_trip saves its state; a second network of
torchvision loads that with strict=True, and its outputs are compared with round_trip's. A difference is the largest one
of all outputs over the largest magnitude of torchvision's outputs. Ends with exit code 1 when one is above 1e-4, and
when a tensor comes back with another type or other values.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile

import torch
import torchvision
from safetensors.torch import load_file, save_file

from compare import LIMIT, ROOT, CheckError, changed_tensors, difference


def network(name, seed):
    """torchvision's network with random values in every tensor: a fresh one has biases of 0 and statistics of 0 and 1,
    which would not show where they are lost or exchanged."""
    torch.manual_seed(seed)
    model = getattr(torchvision.models, name)(weights=None).eval()
    with torch.no_grad():
        for key, tensor in model.state_dict().items():
            if key.endswith("num_batches_tracked"):
                tensor.random_(1, 1000)
            elif key.endswith("running_var") or (key.endswith("weight") and tensor.dim() == 1):
                tensor.uniform_(0.5, 1.5)
            elif tensor.dim() == 1:
                tensor.normal_(0, 0.1)
    return model


def forward(model, inputs):
    with torch.inference_mode():
        return model(inputs)


def check(name, program, batch, folder):
    """Prints a line about one network. Returns whether all is as it should be."""
    state_in, inputs, state_out, outputs = (
        str(folder / f"{part}.safetensors") for part in ("state_in", "inputs", "state_out", "outputs")
    )
    model = network(name, seed=1)
    pictures = torch.randn(batch, 3, 224, 224, generator=torch.Generator().manual_seed(2))
    save_file(model.state_dict(), state_in)
    save_file({"inputs": pictures}, inputs)
    done = subprocess.run([str(program), name, state_in, inputs, state_out, outputs], check=False)
    if done.returncode != 0:
        raise CheckError(f"{program} {name} ended with exit code {done.returncode}")

    ours = load_file(outputs)["outputs"]
    out = difference(ours, forward(model, pictures))

    saved = load_file(state_out)
    other = network(name, seed=3)
    other.load_state_dict(saved, strict=True)
    back = difference(ours, forward(other, pictures))
    changed = changed_tensors(saved, model.state_dict())

    passed = out <= LIMIT and back <= LIMIT and not changed  # false for nan
    print(
        f"{name:9} {sum(tensor.numel() for tensor in saved.values()):11,} values: outputs differ by {out:.1e} after "
        f"torchvision -> lockstep, by {back:.1e} after lockstep -> torchvision (limit {LIMIT:.0e}); "
        f"{len(changed)} of {len(saved)} tensors changed{f' ({changed[0]})' if changed else ''}: "
        f"{'passed' if passed else 'FAILED'}",
        flush=True,
    )
    return passed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/release/bin/round_trip")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--models", default="resnet18,vgg16", help="names, separated by commas")
    options = parser.parse_args()

    failed = False
    for name in options.models.split(","):
        try:
            # vgg16's two files take 1.1 GB.
            with tempfile.TemporaryDirectory(dir=ROOT / "build", prefix="round_trip.") as folder:
                failed |= not check(name, options.bin.resolve(), options.batch, pathlib.Path(folder))
        except (CheckError, OSError, RuntimeError) as error:
            print(f"{name}: FAILED: {error}", file=sys.stderr)
            failed = True
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
