#!/usr/bin/env python3
# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Test accuracy of the reference cnn: lockstep-train and PyTorch with the same recipe, over several seeds.

Recipe: CIFAR-10 (binary folder), pixels / 255, Conv2d(3, 64, 3, padding=1), ReLU, Linear(65536, 10), cross entropy,
SGD, shuffled batches, the last partial batch kept. Needs torch and numpy.
"""

import argparse
import json
import pathlib
import statistics
import subprocess
import tempfile


def load(folder, names):
    import numpy
    import torch

    raw = numpy.concatenate([numpy.fromfile(folder / name, dtype=numpy.uint8) for name in names]).reshape(-1, 3073)
    images = torch.from_numpy(raw[:, 1:].astype(numpy.float32) / 255).reshape(-1, 3, 32, 32)
    return images, torch.from_numpy(raw[:, 0].astype(numpy.int64))


def pytorch_accuracy(folder, seed, args):
    import torch
    from torch import nn

    torch.manual_seed(seed)
    train, labels = load(folder, sorted(p.name for p in folder.glob("data_batch_*.bin")))
    test, test_labels = load(folder, ["test_batch.bin"])
    model = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(65536, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=args.learning_rate, momentum=args.momentum)
    for _ in range(args.epochs):
        order = torch.randperm(len(train))
        for start in range(0, len(train), args.batch):
            index = order[start : start + args.batch]
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(train[index]), labels[index]).backward()
            optimizer.step()
    with torch.no_grad():
        hits = sum(
            int((model(test[i : i + 500]).argmax(1) == test_labels[i : i + 500]).sum()) for i in range(0, len(test), 500)
        )
    return hits / len(test)


def lockstep_accuracy(folder, seed, args):
    with tempfile.TemporaryDirectory() as scratch:
        log = pathlib.Path(scratch) / "log.jsonl"
        subprocess.run(
            [args.program, "--model", "cnn", "--data", folder, "--replicas", str(args.replicas), "--seed", str(seed),
             "--epochs", str(args.epochs), "--batch", str(args.batch), "--learning-rate", str(args.learning_rate),
             "--momentum", str(args.momentum), "--quiet", "--log", log],
            check=True,
        )  # fmt: skip
        epochs = [line for line in map(json.loads, log.read_text().splitlines()) if "epoch" in line]
    return epochs[-1]["test_accuracy"]


def describe(name, accuracies):
    spread = statistics.stdev(accuracies) if len(accuracies) > 1 else float("nan")
    values = " ".join(f"{100 * a:.2f}" for a in accuracies)
    print(f"{name:10} {100 * statistics.mean(accuracies):.2f} % +- {100 * spread:.2f} over {len(accuracies)} seeds: {values}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="CIFAR-10 binary folder")
    parser.add_argument("--program", default="build/release/bin/lockstep-train")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--momentum", type=float, default=0.0)
    parser.add_argument("--replicas", type=int, default=2)
    args = parser.parse_args()
    describe("lockstep", [lockstep_accuracy(args.folder, seed, args) for seed in range(args.seeds)])
    describe("pytorch", [pytorch_accuracy(args.folder, seed, args) for seed in range(args.seeds)])


if __name__ == "__main__":
    main()
