# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""What the scripts have in common that train beside PyTorch over several seeds."""

import statistics


def summarize(runs, measure):
    """Of each peer the mean and deviation over its runs of a measure after the last epoch."""
    results = {}
    for run in runs:
        results.setdefault(run["peer"], []).append(run["epochs"][-1][measure])
    return {
        peer: {
            "mean": statistics.mean(last),
            "deviation": statistics.stdev(last) if len(last) > 1 else None,
            "seeds": len(last),
        }
        for peer, last in results.items()
    }
