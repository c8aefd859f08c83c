# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The PyTorch side of compare.py: one process that holds one case at one thread count and measures on request.

    python torch_reference.py --case cnn --batch 64 --threads 2

Each line on stdin is a request {"mode": "eager" | "compile", "phase": "train" | "infer", "seconds": S}, each line on
stdout its answer {"median_s", "steps"} or {"error"}. The first line on stdout greets with {"version"}. Models, loss
and optimizer are PyTorch with its default options and contiguous tensors; a training step is zero_grad, forward, loss,
backward and an SGD update.
"""

import argparse
import json
import os
import statistics
import sys
import time

LEARNING_RATE = 0.01
WARM_UP_STEPS = 3


def build(torch, case, batch):
    """Returns (model, loss, inputs, targets)."""
    nn = torch.nn
    torch.manual_seed(0)
    labels = torch.randint(0, 10, (batch,))
    if case == "linear":
        return nn.Linear(10, 10), nn.MSELoss(), torch.rand(batch, 10), torch.rand(batch, 10)
    if case == "cnn":
        model = nn.Sequential(nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(64 * 32 * 32, 10))
        return model, nn.CrossEntropyLoss(), torch.rand(batch, 3, 32, 32), labels
    if case == "mlp":
        model = nn.Sequential(
            nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10)
        )
        return model, nn.CrossEntropyLoss(), torch.rand(batch, 784), labels
    raise ValueError(f"expected the case linear, cnn or mlp, got {case}")


def make_step(torch, case, batch, mode, phase):
    """Returns a callable that does one step with a model of its own; a compiled one is compiled at its first call."""
    model, criterion, x, y = build(torch, case, batch)
    wrap = torch.compile if mode == "compile" else lambda function: function
    if phase == "infer":
        predict = wrap(model.eval())

        def infer():
            with torch.no_grad():
                predict(x)

        return infer

    optimizer = torch.optim.SGD(model.train().parameters(), lr=LEARNING_RATE)
    objective = wrap(lambda x, y: criterion(model(x), y))

    def train():
        optimizer.zero_grad()
        objective(x, y).backward()
        optimizer.step()

    return train


def measure(step, seconds):
    """The median time of a step, over as many as fit into `seconds`, after a few that do not count."""
    for _ in range(WARM_UP_STEPS):
        step()
    times = []
    now = time.perf_counter()
    end = now + seconds
    while now < end or not times:
        step()
        after = time.perf_counter()
        times.append(after - now)
        now = after
    return {"median_s": statistics.median(times), "steps": len(times)}


def serve(torch, arguments, answer):
    torch.set_num_threads(arguments.threads)
    steps = {}
    answer({"version": torch.__version__.split("+")[0]})
    for line in sys.stdin:
        request = json.loads(line)
        key = request["mode"], request["phase"]
        try:
            if key not in steps:
                steps[key] = make_step(torch, arguments.case, arguments.batch, *key)
            answer(measure(steps[key], request["seconds"]))
        except Exception as error:  # the peer's failure is an answer, whatever it is
            reason = str(error).strip().splitlines()
            answer({"error": f"{type(error).__name__}: {reason[0] if reason else 'no message'}"})


def main():
    parser = argparse.ArgumentParser(description="Measure PyTorch on request; started by compare.py.")
    parser.add_argument("--case", required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    # Answers keep the real stdout; whatever a compiler or PyTorch prints goes to stderr.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(message):
        channel.write(json.dumps(message) + "\n")
        channel.flush()

    try:
        import torch
    except ImportError as error:
        answer({"error": f"PyTorch cannot be imported ({error}); install torch and numpy for {sys.executable}"})
        return
    serve(torch, arguments, answer)


if __name__ == "__main__":
    main()
