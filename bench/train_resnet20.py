#!/usr/bin/env python3
# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Trains resnet20 on CIFAR-10 with lockstep-train and with PyTorch, by the same recipe, and writes a JSON object.

Recipe, as He et al. (2015), section 4.2: pictures normalised by channel; in training cropped out of a border of four
zeros and mirrored with probability one half; SGD with momentum and weight decay on all parameters; shuffled batches, the
last partial one kept; the learning rate follows the schedule step by step, after a linear warm-up. Zeros of the border
are black, so they are put in before the normalisation. The first parameters are each library's default, which is the
same distribution.

Output: {"recipe": {...}, "runs": [{"peer", "seed", "seconds", "epochs": [{"train_loss", "test_loss", "test_accuracy"}]}],
"summary": {peer: {"mean", "deviation", "seeds"}}}, where accuracies are those of the last epoch; the summary is shown on
standard error as a table too. PyTorch needs torch and numpy; it is left out with --peers lockstep. The peers lockstep-f2
and lockstep-direct are lockstep with another algorithm for its convolutions, where lockstep takes f4. An epoch takes
minutes on a processor: begin with --epochs 1 --limit 1280.
"""

import argparse
import functools
import json
import math
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

from training_runs import summarize


def factor(step, steps, args):
    """Of the learning rate: lockstep-train's --warmup and --schedule."""
    if step < args.warmup:
        return (step + 1) / (args.warmup + 1)
    step, steps = step - args.warmup, steps - args.warmup
    if args.schedule == "cosine":
        return (1 + math.cos(math.pi * step / steps)) / 2
    if args.schedule == "step":
        return 0.1 ** (step // ((steps + 2) // 3))
    return 1.0


def load(folder, names, limit):
    import numpy
    import torch

    raw = numpy.concatenate([numpy.fromfile(folder / name, dtype=numpy.uint8) for name in names]).reshape(-1, 3073)
    raw = raw[: limit or None]
    images = torch.from_numpy(raw[:, 1:].astype(numpy.float32) / 255).reshape(-1, 3, 32, 32)
    return images, torch.from_numpy(raw[:, 0].astype(numpy.int64))


def resnet20():
    from torch import nn

    def conv3x3(inputs, outputs, stride):
        return nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)

    class Block(nn.Module):
        def __init__(self, inputs, outputs, stride):
            super().__init__()
            self.conv1, self.bn1 = conv3x3(inputs, outputs, stride), nn.BatchNorm2d(outputs)
            self.conv2, self.bn2 = conv3x3(outputs, outputs, 1), nn.BatchNorm2d(outputs)
            self.downsample = (
                nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
                if stride != 1
                else nn.Identity()
            )

        def forward(self, x):
            y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu_()))
            y += self.downsample(x)
            return y.relu_()

    def stage(inputs, outputs, stride):
        return nn.Sequential(Block(inputs, outputs, stride), Block(outputs, outputs, 1), Block(outputs, outputs, 1))

    return nn.Sequential(
        conv3x3(3, 16, 1), nn.BatchNorm2d(16), nn.ReLU(inplace=True),
        stage(16, 16, 1), stage(16, 32, 2), stage(32, 64, 2),
        nn.AvgPool2d(8), nn.Flatten(), nn.Linear(64, 10),
    )  # fmt: skip


def crop_and_flip(images):
    """Each picture by draws of its own, all pictures at once."""
    import torch

    n = len(images)
    padded = torch.nn.functional.pad(images, (4, 4, 4, 4))
    place = torch.arange(32)
    rows = torch.randint(0, 9, (n, 1)) + place
    columns = torch.randint(0, 9, (n, 1)) + torch.where(torch.rand(n, 1) < 0.5, place.flip(0), place)
    picked = padded.gather(2, rows[:, None, :, None].expand(n, 3, 32, 40))
    return picked.gather(3, columns[:, None, None, :].expand(n, 3, 32, 32))


def train_pytorch(seed, args):
    import torch
    from torch import nn

    torch.manual_seed(seed)
    if args.threads:
        torch.set_num_threads(args.threads)
    train, labels = load(args.folder, sorted(p.name for p in args.folder.glob("data_batch_*.bin")), args.limit)
    test, test_labels = load(args.folder, ["test_batch.bin"], args.limit)
    mean = train.mean((0, 2, 3)).view(3, 1, 1)
    deviation = train.std((0, 2, 3), correction=0).view(3, 1, 1)

    model = resnet20().to(args.device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=args.learning_rate, momentum=args.momentum, weight_decay=args.weight_decay
    )
    per_epoch = -(-len(train) // args.batch)
    steps = args.epochs * per_epoch
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: factor(step, steps, args))
    epochs = []
    for _ in range(args.epochs):
        model.train()
        order = torch.randperm(len(train))
        total = 0.0
        for index in order.split(args.batch):
            images = (crop_and_flip(train[index]) - mean) / deviation
            output = model(images.to(args.device, memory_format=torch.channels_last))
            loss = nn.functional.cross_entropy(output, labels[index].to(args.device))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(index)
        model.eval()
        hits, test_loss = 0, 0.0
        with torch.no_grad():
            for images, wanted in zip(test.split(500), test_labels.split(500)):
                output = model(((images - mean) / deviation).to(args.device, memory_format=torch.channels_last))
                wanted = wanted.to(args.device)
                test_loss += nn.functional.cross_entropy(output, wanted, reduction="sum").item()
                hits += int((output.argmax(1) == wanted).sum())
        epochs.append(
            {"train_loss": total / len(train), "test_loss": test_loss / len(test), "test_accuracy": hits / len(test)}
        )
        print(f"pytorch, seed {seed}: {epochs[-1]}", file=sys.stderr, flush=True)
    return epochs


def cut_folder(folder, limit, into):
    """The first `limit` samples of both parts, as a folder that lockstep-train opens."""
    record = 3073
    names = sorted(p.name for p in folder.glob("data_batch_*.bin"))
    train = b"".join((folder / name).read_bytes() for name in names)
    (into / "data_batch_1.bin").write_bytes(train[: limit * record])
    (into / "test_batch.bin").write_bytes((folder / "test_batch.bin").read_bytes()[: limit * record])
    return into


def train_lockstep(convolution, seed, args):
    with tempfile.TemporaryDirectory() as scratch:
        scratch = pathlib.Path(scratch)
        folder = cut_folder(args.folder, args.limit, scratch) if args.limit else args.folder
        log = scratch / "log.jsonl"
        subprocess.run(
            [args.program, "--model", "resnet20", "--augment", "--normalise", "--data", folder,
             "--replicas", str(args.replicas), "--seed", str(seed), "--epochs", str(args.epochs),
             "--batch", str(args.batch), "--learning-rate", str(args.learning_rate), "--momentum", str(args.momentum),
             "--weight-decay", str(args.weight_decay), "--schedule", args.schedule, "--warmup", str(args.warmup),
             "--convolution", convolution, "--quiet", "--log", log],
            check=True, stderr=None if not args.limit else subprocess.DEVNULL,
        )  # fmt: skip
        lines = [line for line in map(json.loads, log.read_text().splitlines()) if "epoch" in line]
    return [{key: line[key] for key in ("train_loss", "test_loss", "test_accuracy")} for line in lines]


TRAINERS = {
    "lockstep": functools.partial(train_lockstep, "f4"),
    "lockstep-f2": functools.partial(train_lockstep, "f2"),
    "lockstep-direct": functools.partial(train_lockstep, "direct"),
    "pytorch": train_pytorch,
}


def print_table(runs, summary):
    print(f"{'peer':17}{'mean':>9}{'deviation':>11}{'s a run':>9}  accuracies", file=sys.stderr)
    for peer, of in summary.items():
        own = [run for run in runs if run["peer"] == peer]
        deviation = "-" if of["deviation"] is None else f"{of['deviation']:.2%}"
        seconds = statistics.mean(run["seconds"] for run in own)
        accuracies = ", ".join(f"{run['epochs'][-1]['test_accuracy']:.2%}" for run in own)
        print(f"{peer:17}{of['mean']:>9.2%}{deviation:>11}{seconds:>9.0f}  {accuracies}", file=sys.stderr)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="CIFAR-10 binary folder")
    parser.add_argument("--peers", nargs="+", choices=list(TRAINERS), default=["lockstep", "pytorch"])
    parser.add_argument("--program", default="build/release/bin/lockstep-train")
    parser.add_argument("--seeds", type=int, default=1, help="number of runs of each peer")
    parser.add_argument("--first-seed", type=int, default=0, help="of the first run")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--momentum", type=float, default=0.9)
    parser.add_argument("--weight-decay", type=float, default=1e-4)
    parser.add_argument("--schedule", choices=["constant", "step", "cosine"], default="cosine")
    parser.add_argument("--warmup", type=int, default=400, help="steps")
    parser.add_argument("--replicas", type=int, choices=[1, 2, 4], default=2, help="of lockstep-train")
    parser.add_argument("--threads", type=int, default=0, help="of PyTorch; 0: its own choice")
    parser.add_argument("--device", default="cpu", help="of PyTorch")
    parser.add_argument("--limit", type=int, default=0, help="samples of each part; 0: all of them")
    parser.add_argument("--output", type=pathlib.Path, help="file to write; standard output when not given")
    args = parser.parse_args()
    steps = args.epochs * -(-(args.limit or 50_000) // args.batch)
    if args.warmup >= steps:
        parser.error(f"--warmup: expected fewer than the training's {steps} steps, got {args.warmup}")

    names = ("epochs", "batch", "learning_rate", "momentum", "weight_decay", "schedule", "warmup", "limit")
    runs = []
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        for peer in args.peers:
            began = time.perf_counter()
            epochs = TRAINERS[peer](seed, args)
            runs.append({"peer": peer, "seed": seed, "seconds": time.perf_counter() - began, "epochs": epochs})
            print(f"{peer}, seed {seed}: accuracy {epochs[-1]['test_accuracy']:.2%}", file=sys.stderr, flush=True)
            summary = summarize(runs, "test_accuracy")
            result = {"recipe": {name: getattr(args, name) for name in names}, "runs": runs, "summary": summary}
            if args.output:  # after each run, so that what is cut off leaves what it has trained
                args.output.write_text(json.dumps(result, indent=1) + "\n")
    print_table(runs, summary)
    if not args.output:
        sys.stdout.write(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
