#!/usr/bin/env python3
# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Draws what train_resnet20.py has written: test accuracy and training loss after each epoch, as an SVG file.

A thin line is a run, a thick one the mean of a peer's runs. Several files may hold one peer's runs each. Needs
matplotlib.
"""

import argparse
import json
import pathlib

import matplotlib

matplotlib.use("svg")
matplotlib.rcParams["svg.hashsalt"] = "lockstep"  # the same file from the same numbers
from matplotlib import pyplot, ticker  # noqa: E402

COLORS = {"lockstep": "#1f6feb", "lockstep-f2": "#1a7f37", "lockstep-direct": "#8250df", "pytorch": "#d1570a"}
NAMES = {
    "lockstep": "lockstep",
    "lockstep-f2": "lockstep, F(2, 3)",
    "lockstep-direct": "lockstep, direct sums",
    "pytorch": "PyTorch",
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=pathlib.Path, help="JSON of train_resnet20.py")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="SVG file to write")
    args = parser.parse_args()

    contents = [json.loads(path.read_text()) for path in args.files]
    recipes = [content["recipe"] for content in contents]
    if any(recipe != recipes[0] for recipe in recipes):
        parser.error("expected runs of one recipe, got several: name files of the same epochs, rate and schedule")
    runs = [run for content in contents for run in content["runs"]]

    figure, panels = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    for panel, key, title in zip(
        panels, ("test_accuracy", "train_loss"), ("accuracy on the test pictures", "mean loss of training")
    ):
        for peer, color in COLORS.items():
            curves = [[epoch[key] for epoch in run["epochs"]] for run in runs if run["peer"] == peer]
            if not curves:
                continue
            epochs = range(1, len(curves[0]) + 1)
            for curve in curves:
                panel.plot(epochs, curve, color=color, linewidth=0.8, alpha=0.45)
            mean = [sum(values) / len(values) for values in zip(*curves)]
            panel.plot(epochs, mean, color=color, linewidth=2.2, label=f"{NAMES[peer]}, mean of {len(curves)}")
        panel.set_title(title, fontsize=11)
        panel.set_xlabel("epoch")
        panel.grid(alpha=0.25)
        panel.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].yaxis.set_major_formatter(ticker.PercentFormatter(1, decimals=0))
    panels[0].legend(frameon=False, loc="lower right")
    figure.savefig(args.output, metadata={"Date": None})


if __name__ == "__main__":
    main()
