# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes gpt.safetensors: what transformers' GPT2LMHeadModel computes in float64, small and with golden values.

    python generate_gpt.py [--out DIR]         needs torch, numpy, safetensors and transformers

README.md documents the networks and names. Also writes the names and shapes of the 124M model to tests/models.
"""

import argparse
import pathlib

import torch
import transformers

import generate as golden
import generate_graphs as graphs
import generate_tokens as text

CONFIGURATION = {"n_layer": 2, "n_head": 2, "n_embd": 16, "n_positions": 12, "vocab_size": 40}
# By network: the tokens of a sequence.
LENGTHS = {"gpt": 12, "short": 7}


class Gpt(transformers.GPT2LMHeadModel):
    """Tokens to logits."""

    def forward(self, tokens):
        return super().forward(tokens, use_cache=False).logits


def build():
    others = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0, "bos_token_id": None, "eos_token_id": None}
    return Gpt(transformers.GPT2Config(**CONFIGURATION, **others)).to(torch.float64)


def write_names(path):
    """The parameters of the smallest GPT-2, whose configuration is the default one."""
    with torch.device("meta"):
        model = transformers.GPT2LMHeadModel(transformers.GPT2Config())
    lines = [f"{name} {'x'.join(str(n) for n in each.shape)}" for name, each in model.named_parameters()]
    path.write_text("".join(f"{line}\n" for line in sorted(lines)))


def main():
    parser = argparse.ArgumentParser(description="Write the golden values of GPT-2.")
    folder = pathlib.Path(__file__).resolve().parent
    parser.add_argument("--out", type=pathlib.Path, default=folder)
    parser.add_argument("--models", type=pathlib.Path, default=folder.parent / "models")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    golden.check_philox()
    tensors = {}
    description = {"transformers": transformers.__version__, "batch": graphs.BATCH, "configuration": CONFIGURATION,
                   "lengths": LENGTHS, "ignored": text.IGNORED, "adamw": text.ADAMW, "steps": text.ADAMW_STEPS}
    for name, length in LENGTHS.items():
        own, description["parameters"] = text.run(name, build(), length, CONFIGURATION["vocab_size"], adamw=True)
        tensors |= own
    golden.save(arguments.out / "gpt.safetensors", tensors, description)
    write_names(arguments.models / "gpt2_124m.txt")


if __name__ == "__main__":
    main()
