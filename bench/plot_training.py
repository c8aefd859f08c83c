#!/usr/bin/env python3
# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Draws what train_resnet20.py or train_text.py has written, as an SVG file.

Of pictures it shows test accuracy and training loss after each epoch: a thin line is a run, a thick one the mean of a
peer's runs. Of texts it shows in a panel for each network the training loss, the mean of a peer's runs, and as points
the validation loss of each run after each epoch; PyTorch's line is wide, since both begin alike and hardly part.
Several files may hold the runs of one recipe. Needs matplotlib.
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


def draw_pictures(contents):
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
    return figure


def draw_text(panel, contents):
    """Of one network."""
    runs = [run for content in contents for run in content["runs"]]
    recipe = contents[0]["recipe"]
    # The wide line first, so that the other lies on it.
    for peer, width, alpha, marker in (("pytorch", 5, 0.4, "o"), ("lockstep", 1.4, 1, "x")):
        own = [run for run in runs if run["peer"] == peer]
        if not own:
            continue
        curve = [sum(losses) / len(losses) for losses in zip(*(run["losses"] for run in own))]
        # A point is the mean of the steps up to it; the last may have fewer.
        steps = [min((i + 1) * recipe["steps_a_point"], own[0]["steps"]) for i in range(len(curve))]
        panel.plot(
            steps, curve, color=COLORS[peer], linewidth=width, alpha=alpha, label=f"{NAMES[peer]}, mean of {len(own)}"
        )
        for run in own:
            ends = [min((i + 1) * run["steps_an_epoch"], run["steps"]) for i in range(len(run["epochs"]))]
            losses = [epoch["validation_loss"] for epoch in run["epochs"]]
            panel.plot(
                ends, losses, marker, color=COLORS[peer], alpha=max(alpha, 0.6), markersize=6, markerfacecolor="none",
                clip_on=False,
                label=f"{NAMES[peer]}, validation" if run is own[0] else None,
            )  # fmt: skip
    panel.set_title(f"{recipe['model']}: loss on {recipe['text']}", fontsize=11)
    panel.set_xlabel("step")
    panel.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
    panel.grid(alpha=0.25)
    panel.spines[["top", "right"]].set_visible(False)
    panel.legend(frameon=False, loc="upper right")


def draw_texts(contents):
    models = list(dict.fromkeys(content["recipe"]["model"] for content in contents))
    figure, panels = pyplot.subplots(
        1, len(models), figsize=(4.5 * max(len(models), 1.4), 3.6), layout="constrained", squeeze=False
    )
    for panel, model in zip(panels[0], models):
        draw_text(panel, [content for content in contents if content["recipe"]["model"] == model])
    return figure


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=pathlib.Path, help="JSON of train_resnet20.py or train_text.py")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="SVG file to write")
    args = parser.parse_args()

    contents = [json.loads(path.read_text()) for path in args.files]
    recipes = {}
    for content in contents:
        recipe = content["recipe"]
        if recipes.setdefault(recipe.get("model"), recipe) != recipe:
            parser.error("expected runs of one recipe, got several: name files of the same epochs, rate and schedule")
    if None in recipes and len(recipes) > 1:
        parser.error("expected files of one program, got some of train_resnet20.py and some of train_text.py")
    figure = draw_pictures(contents) if None in recipes else draw_texts(contents)
    figure.savefig(args.output, metadata={"Date": None})


if __name__ == "__main__":
    main()
