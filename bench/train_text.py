#!/usr/bin/env python3
# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Trains gpt or lstm on a text with lockstep-train and with PyTorch, by the same recipe, and writes a JSON object.

Networks: gpt is GPT-2 with 4 layers, 4 heads, width 128 and a context of 128 bytes, its head the embedding's matrix;
lstm an embedding of 64, two layers of 256 and a linear layer. Recipe: the text in windows of 128 bytes, in order, the
last partial batch kept, its last tenth for validation; mean cross entropy of the byte that follows each; AdamW with
decay on all parameters; a linear warm-up, then the schedule.

PyTorch draws the first parameters from the seed, by GPT-2's rule for gpt and by its modules' own for lstm, and both
sides begin with them. With the same samples in the same order their losses differ by rounding alone, which training
magnifies: the table tells by how much, for the first steps and at the end.

Output: {"recipe": {...}, "runs": [{"peer", "seed", "seconds", "epochs": [{"train_loss", "validation_loss",
"samples_per_s"}], "steps", "steps_an_epoch", "first_losses": of the first ten steps, "losses": means of ten steps
each}], "summary": {peer: {"mean", "deviation", "seeds"}}}, where the summary is of the validation losses after the last
epoch; standard error shows it as a table. `samples_per_s` is of training, `seconds` of a run with all that it does.
PyTorch runs eagerly. Both sides need torch, numpy and safetensors. plot_training.py draws the JSON.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import safetensors.torch
import torch
from torch import nn
from torch.nn import functional

from train_resnet20 import factor
from training_runs import summarize

VOCABULARY = 256
LENGTH = 128  # bytes in a sample
VALIDATION_BATCH = 64
STEPS_A_POINT = 10  # of the curves of training

# Where the command line does not say.
RECIPES = {
    "gpt": {"batch": 16, "learning_rate": 1e-3, "warmup": 100},
    "lstm": {"batch": 64, "learning_rate": 2e-3, "warmup": 0},
}


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.c_attn = nn.Linear(width, 3 * width)
        self.c_proj = nn.Linear(width, width)

    def forward(self, x):
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.c_attn(x).chunk(3, 2))
        y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.c_proj(y.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.c_fc = nn.Linear(width, 4 * width)
        self.c_proj = nn.Linear(4 * width, width)

    def forward(self, x):
        return self.c_proj(functional.gelu(self.c_fc(x), approximate="tanh"))


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.ln_1, self.attn = nn.LayerNorm(width), Attention(width, heads)
        self.ln_2, self.mlp = nn.LayerNorm(width), Mlp(width)

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class Gpt(nn.Module):
    """examples/models/byte_gpt.hpp."""

    LAYERS, HEADS, WIDTH = 4, 4, 128

    def __init__(self):
        super().__init__()
        self.transformer = nn.ModuleDict({
            "wte": nn.Embedding(VOCABULARY, self.WIDTH),
            "wpe": nn.Embedding(LENGTH, self.WIDTH),
            "h": nn.ModuleList(Block(self.WIDTH, self.HEADS) for _ in range(self.LAYERS)),
            "ln_f": nn.LayerNorm(self.WIDTH),
        })  # fmt: skip
        for name, parameter in self.named_parameters():
            if name.endswith(".bias"):
                nn.init.zeros_(parameter)
            elif parameter.dim() == 2:  # the rest are normalisations' ones
                residual = name.endswith("c_proj.weight")
                nn.init.normal_(parameter, std=0.02 / (2 * self.LAYERS) ** 0.5 if residual else 0.02)

    def forward(self, tokens):
        of = self.transformer
        x = of["wte"](tokens) + of["wpe"].weight
        for block in of["h"]:
            x = block(x)
        return functional.linear(of["ln_f"](x), of["wte"].weight)


class Lstm(nn.Module):
    """examples/models/char_lstm.hpp."""

    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 64)
        self.lstm = nn.LSTM(64, 256, num_layers=2, batch_first=True)
        self.head = nn.Linear(256, VOCABULARY)

    def forward(self, tokens):
        return self.head(self.lstm(self.embedding(tokens))[0])


MODELS = {"gpt": Gpt, "lstm": Lstm}


def first_model(seed, args):
    torch.manual_seed(seed)
    return MODELS[args.model]()


def write_parameters(model, path):
    """GPT-2's files have the matrices of its linear layers the other way round."""
    turned = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, nn.Linear)}
    turned = turned if isinstance(model, Gpt) else set()
    values = {name: value.T if name in turned else value for name, value in model.state_dict().items()}
    safetensors.torch.save_file({name: value.contiguous() for name, value in values.items()}, path)


def windows(text):
    """Samples and the bytes that follow, of shape (count, LENGTH); what is left over at the end goes."""
    count = (len(text) - 1) // LENGTH
    tokens = torch.frombuffer(bytearray(text), dtype=torch.uint8).long()
    return tokens[: count * LENGTH].view(count, LENGTH), tokens[1 : count * LENGTH + 1].view(count, LENGTH)


def split(args):
    text = args.file.read_bytes()
    cut = len(text) - len(text) // 10
    return windows(text[:cut]), windows(text[cut:])


def steps_of(samples, args):
    """Of an epoch, and of the whole training."""
    per_epoch = -(-samples // args.batch)
    return per_epoch, args.steps or args.epochs * per_epoch


def points(losses):
    return [statistics.fmean(losses[i : i + STEPS_A_POINT]) for i in range(0, len(losses), STEPS_A_POINT)]


def token_loss(model, tokens, targets, reduction="mean"):
    return functional.cross_entropy(model(tokens).flatten(0, 1), targets.flatten(), reduction=reduction)


def validate(model, tokens, targets):
    with torch.no_grad():
        total = sum(
            token_loss(model, *batch, reduction="sum").item()
            for batch in zip(tokens.split(VALIDATION_BATCH), targets.split(VALIDATION_BATCH))
        )
    return total / targets.numel()


def train_pytorch(seed, args):
    (tokens, targets), validation = split(args)
    model = first_model(seed, args)
    # One pass over all parameters, as lockstep's: the fastest of PyTorch's implementations.
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=args.learning_rate, weight_decay=args.weight_decay, fused=True
    )
    per_epoch, steps = steps_of(len(tokens), args)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: factor(step, steps, args))
    epochs, losses = [], []
    while len(losses) < steps:
        began = time.perf_counter()
        batches = list(zip(tokens.split(args.batch), targets.split(args.batch)))[: steps - len(losses)]
        total, samples = 0.0, 0
        for batch in batches:
            loss = token_loss(model, *batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
            total += losses[-1] * len(batch[0])
            samples += len(batch[0])
        seconds = time.perf_counter() - began
        epochs.append({
            "train_loss": total / samples,
            "validation_loss": validate(model, *validation),
            "samples_per_s": samples / seconds,
        })  # fmt: skip
        print(f"pytorch, seed {seed}: {epochs[-1]}", file=sys.stderr, flush=True)
    return epochs, losses


def train_lockstep(seed, args):
    with tempfile.TemporaryDirectory() as scratch:
        start, log = pathlib.Path(scratch) / "start.safetensors", pathlib.Path(scratch) / "log.jsonl"
        write_parameters(first_model(seed, args), start)
        length = ["--steps", args.steps] if args.steps else ["--epochs", args.epochs]
        save = ["--save", args.save / f"{args.model}-{seed}.safetensors"] if args.save else []
        command = [
            args.program, "--model", args.model, "--data", args.file, "--init", start, "--no-shuffle", *length,
            "--replicas", args.replicas, "--batch", args.batch, "--optimizer", "adamw",
            "--learning-rate", args.learning_rate, "--weight-decay", args.weight_decay, "--schedule", args.schedule,
            "--warmup", args.warmup, "--quiet", "--log", log, *save,
        ]  # fmt: skip
        subprocess.run([str(word) for word in command], check=True)
        lines = [json.loads(line) for line in log.read_text().splitlines()]
    epochs = [
        {key: line[key] for key in ("train_loss", "validation_loss", "samples_per_s")}
        for line in lines
        if "epoch" in line
    ]
    return epochs, [line["loss"] for line in lines if "step" in line]


TRAINERS = {"lockstep": train_lockstep, "pytorch": train_pytorch}


def print_table(runs, summary):
    print(f"{'peer':9}{'mean':>9}{'deviation':>11}{'samples/s':>11}{'s a run':>9}  validation losses", file=sys.stderr)
    for peer, of in summary.items():
        own = [run for run in runs if run["peer"] == peer]
        deviation = "-" if of["deviation"] is None else f"{of['deviation']:.4f}"
        speed = statistics.mean(epoch["samples_per_s"] for run in own for epoch in run["epochs"])
        seconds = statistics.mean(run["seconds"] for run in own)
        losses = ", ".join(f"{run['epochs'][-1]['validation_loss']:.4f}" for run in own)
        print(f"{peer:9}{of['mean']:>9.4f}{deviation:>11}{speed:>11.0f}{seconds:>9.0f}  {losses}", file=sys.stderr)


def print_differences(runs):
    """How far the two sides of each seed are apart."""

    def largest(a, b):
        return max(abs(x - y) for x, y in zip(a, b, strict=True))

    for ours in (run for run in runs if run["peer"] == "lockstep"):
        for theirs in (run for run in runs if run["peer"] == "pytorch" and run["seed"] == ours["seed"]):
            first = largest(ours["first_losses"], theirs["first_losses"])
            points_apart = largest(ours["losses"], theirs["losses"])
            last = [run["epochs"][-1]["validation_loss"] for run in (ours, theirs)]
            print(
                f"seed {ours['seed']}: losses of the first {len(ours['first_losses'])} steps at most {first:.1e} "
                f"apart, means of {STEPS_A_POINT} steps {points_apart:.1e}, the last validation loss "
                f"{last[0] - last[1]:+.1e}",
                file=sys.stderr,
            )


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=pathlib.Path, help="the text")
    parser.add_argument("--model", choices=list(MODELS), default="gpt")
    parser.add_argument("--peers", nargs="+", choices=list(TRAINERS), default=list(TRAINERS))
    parser.add_argument("--program", default="build/release/bin/lockstep-train")
    parser.add_argument("--seeds", type=int, default=3, help="number of runs of each peer")
    parser.add_argument("--first-seed", type=int, default=0, help="of the first run")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--steps", type=int, default=0, help="to train, instead of --epochs")
    parser.add_argument("--batch", type=int, help="gpt: 16; lstm: 64")
    parser.add_argument("--learning-rate", type=float, help="gpt: 0.001; lstm: 0.002")
    parser.add_argument("--weight-decay", type=float, default=0.01)
    parser.add_argument("--schedule", choices=["constant", "step", "cosine"], default="constant")
    parser.add_argument("--warmup", type=int, help="steps; gpt: 100; lstm: 0")
    parser.add_argument("--replicas", type=int, choices=[1, 2, 4], default=2, help="of lockstep-train")
    parser.add_argument("--threads", type=int, default=0, help="of PyTorch; 0: its own choice")
    parser.add_argument(
        "--save", type=pathlib.Path, help="folder for what lockstep has trained, as MODEL-SEED.safetensors"
    )
    parser.add_argument("--output", type=pathlib.Path, help="file to write; standard output when not given")
    args = parser.parse_args()
    for name, value in RECIPES[args.model].items():
        if getattr(args, name) is None:
            setattr(args, name, value)
    _, steps = steps_of(len(split(args)[0][0]), args)
    if args.warmup >= steps:
        parser.error(f"--warmup: expected fewer than the training's {steps} steps, got {args.warmup}")
    return args


def main():
    args = parse()
    if args.threads:
        torch.set_num_threads(args.threads)
    if args.save:
        args.save.mkdir(parents=True, exist_ok=True)
    per_epoch, _ = steps_of(len(split(args)[0][0]), args)
    names = ("model", "epochs", "steps", "batch", "learning_rate", "weight_decay", "schedule", "warmup")
    runs = []
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for peer in args.peers:
            began = time.perf_counter()
            epochs, losses = TRAINERS[peer](seed, args)
            seconds = time.perf_counter() - began
            runs.append({
                "peer": peer, "seed": seed, "seconds": seconds, "epochs": epochs,
                "steps": len(losses), "steps_an_epoch": per_epoch,
                "first_losses": losses[:STEPS_A_POINT], "losses": points(losses),
            })  # fmt: skip
            print(
                f"{peer}, seed {seed}: validation loss {epochs[-1]['validation_loss']:.4f}", file=sys.stderr, flush=True
            )
            summary = summarize(runs, "validation_loss")
            recipe = {name: getattr(args, name) for name in names}
            result = {
                "recipe": {**recipe, "text": args.file.name, "steps_a_point": STEPS_A_POINT},
                "runs": runs,
                "summary": summary,
            }
            if args.output:  # after each run, so that what is cut off leaves what it has trained
                args.output.write_text(json.dumps(result, indent=1) + "\n")
    print_table(runs, summary)
    print_differences(runs)
    if not args.output:
        sys.stdout.write(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
