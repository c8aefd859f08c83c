# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Passes the states of transformers' GPT-2 to lockstep and back, and compares the logits.

    python gpt2.py [--bin PROGRAM] [--batch 2] [--models small,124m]       needs torch, transformers and safetensors

Out: transformers saves a GPT2LMHeadModel of random values with save_pretrained; the program round_trip_gpt2 loads the
file, and its logits for a batch of random texts are compared with transformers'. Back: round_trip_gpt2 saves its state;
GPT2LMHeadModel.from_pretrained loads that, must miss no tensor and find none too many, and its logits are compared with
round_trip_gpt2's. A difference is the largest one over the largest magnitude. Ends with exit code 1 when one is above
1e-4, and when a tensor comes back with another type or other values. Takes 2 GB of files for 124m.
"""

import argparse
import pathlib
import subprocess
import sys
import tempfile
import time

import torch
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel

from compare import LIMIT, ROOT, CheckError, changed_tensors, difference

SMALL = {"n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 12, "vocab_size": 40}
SMALL |= {"bos_token_id": None, "eos_token_id": None}
# By model: the configuration, which is the default one of the 124 million parameters, and tokens of a text.
MODELS = {"small": (SMALL, 12), "124m": ({}, 32)}


def network(configuration):
    """GPT-2 with random values in every tensor: a fresh one has biases of 0 and scales of 1, which would not show where
    they are lost or exchanged."""
    torch.manual_seed(1)
    model = GPT2LMHeadModel(GPT2Config(**configuration)).eval()
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if "ln_" in name and name.endswith("weight"):
                tensor.uniform_(0.5, 1.5)
            elif tensor.dim() == 1:
                tensor.normal_(0, 0.1)
            else:
                tensor.normal_(0, 0.05)
    return model


def logits_of(model, tokens):
    with torch.inference_mode():
        return model(tokens, use_cache=False).logits


def check(name, program, batch, folder):
    """Prints a line about one model. Returns whether all is as it should be."""
    configuration, length = MODELS[name]
    model = network(configuration)
    tokens = torch.randint(model.config.vocab_size, (batch, length), generator=torch.Generator().manual_seed(2))
    theirs, ours = folder / "theirs", folder / "ours"
    model.save_pretrained(theirs)
    model.config.save_pretrained(ours)
    save_file({"tokens": tokens.double()}, folder / "tokens.safetensors")
    arguments = [name, theirs / "model.safetensors", folder / "tokens.safetensors", ours / "model.safetensors",
                 folder / "logits.safetensors"]
    done = subprocess.run([str(each) for each in (program, *arguments)], check=False)
    if done.returncode != 0:
        raise CheckError(f"{program} {name} ended with exit code {done.returncode}")

    given = load_file(folder / "logits.safetensors")["logits"]
    start = time.perf_counter()
    expected = logits_of(model, tokens)
    print(f"  transformers predicted: {time.perf_counter() - start:.2f} s")
    out = difference(given, expected)

    other, report = GPT2LMHeadModel.from_pretrained(ours, output_loading_info=True)
    faults = {kind: names for kind, names in report.items() if names}
    back = difference(given, logits_of(other.eval(), tokens))
    saved = load_file(ours / "model.safetensors")
    changed = changed_tensors(saved, load_file(theirs / "model.safetensors"))

    passed = out <= LIMIT and back <= LIMIT and not changed and not faults  # false for nan
    print(
        f"{name:5} {sum(tensor.numel() for tensor in saved.values()):11,} values: logits differ by {out:.1e} after "
        f"transformers -> lockstep, by {back:.1e} after lockstep -> transformers (limit {LIMIT:.0e}); {len(changed)} of "
        f"{len(saved)} tensors changed{f' ({changed[0]})' if changed else ''}{f', {faults}' if faults else ''}: "
        f"{'passed' if passed else 'FAILED'}",
        flush=True,
    )
    return passed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/release/bin/round_trip_gpt2")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--models", default="small,124m", help="names, separated by commas")
    options = parser.parse_args()

    failed = False
    for name in options.models.split(","):
        try:
            with tempfile.TemporaryDirectory(prefix="round_trip_gpt2.") as folder:
                failed |= not check(name, options.bin.resolve(), options.batch, pathlib.Path(folder))
        except (CheckError, OSError, RuntimeError) as error:
            print(f"{name}: FAILED: {error}", file=sys.stderr)
            failed = True
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
