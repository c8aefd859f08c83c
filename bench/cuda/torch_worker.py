# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The PyTorch side of compare.py: one process that holds one case and one precision, and measures on request.

    python torch_worker.py --case cnn --batch 64 --device cuda [--precision fp32] [--channels-last]

Each line on stdin is a request {"mode": [MODE, DATA], "phase": "train", "seconds": S} with MODE eager, compile or graph
and DATA device or pinned; each line on stdout its answer {"median_s", "steps"} or {"error"}. The first line on stdout
greets with {"version", "device"}, or says {"error"}.

A step is forward, loss, backward and a (fused) SGD update, and the host reads the loss. Samples and targets lie in the
device's memory, or are copied there in each step from pinned memory of the host. `compile` is torch.compile of forward
and loss with max-autotune; `graph` is the whole step but the copies recorded in one CUDA graph. cuDNN may try its
algorithms out.
"""

import argparse
import functools
import json
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import torch_reference  # noqa: E402

WARM_UP_STEPS = 3
DATA = ("device", "pinned")
PRECISIONS = ("fp32", "tf32", "bf16")


def build(torch, case, batch):
    """Returns (model, loss, inputs, targets), on the CPU."""
    if case != "deep":
        return torch_reference.build(torch, case, batch)
    nn = torch.nn
    torch.manual_seed(0)
    layers = []
    for block, pool in enumerate([nn.MaxPool2d(2), nn.MaxPool2d(2), nn.AvgPool2d(8)]):
        for index in range(4):
            layers += [nn.Conv2d(3 if block + index == 0 else 64, 64, 3, padding=1), nn.ReLU()]
        layers.append(pool)
    model = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 10))
    return model, nn.CrossEntropyLoss(), torch.rand(batch, 3, 32, 32), torch.randint(0, 10, (batch,))


class Training:
    """A model of its own, and where its batch lies."""

    def __init__(self, torch, arguments):
        on_gpu = arguments.device == "cuda"
        # Every weight is used once, so that there is nothing to keep; what is kept would outlive a recording.
        self.precision = torch.autocast(
            arguments.device, torch.bfloat16, enabled=arguments.precision == "bf16", cache_enabled=False
        )
        model, self.criterion, x, y = build(torch, arguments.case, arguments.batch)
        self.model = model.train().to(arguments.device)
        if arguments.channels_last and x.dim() == 4:
            self.model = self.model.to(memory_format=torch.channels_last)
            x = x.contiguous(memory_format=torch.channels_last)
        self.x, self.y = x.to(arguments.device), y.to(arguments.device)
        self.host = (x.pin_memory(), y.pin_memory()) if on_gpu else (x, y)
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=torch_reference.LEARNING_RATE, fused=on_gpu or None
        )

    def bring(self, data):
        if data == "pinned":
            self.x.copy_(self.host[0], non_blocking=True)
            self.y.copy_(self.host[1], non_blocking=True)

    def objective(self, x, y):
        with self.precision:
            return self.criterion(self.model(x), y)

    def step(self, objective):
        self.optimizer.zero_grad()
        loss = objective(self.x, self.y)
        loss.backward()
        self.optimizer.step()
        return loss


def make_step(torch, arguments, mode):
    """Returns a callable that does one step, given where its batch lies; compiling waits for the first call."""
    training = Training(torch, arguments)
    if mode == "graph":
        return graph_step(torch, training)
    if mode == "compile":
        objective = torch.compile(training.objective, mode="max-autotune")
    elif mode == "eager":
        objective = training.objective
    else:
        raise ValueError(f"expected the mode eager, compile or graph, got {mode}")

    def step(data):
        if mode == "compile":
            torch.compiler.cudagraph_mark_step_begin()
        training.bring(data)
        return training.step(objective).item()

    return step


def graph_step(torch, training):
    """As PyTorch's manual describes it: a few steps on a side stream, then one that is recorded."""
    if not torch.cuda.is_available():
        raise RuntimeError("CUDA graphs need a GPU")
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(WARM_UP_STEPS):
            training.step(training.objective)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    training.optimizer.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        loss = training.objective(training.x, training.y)
        loss.backward()
        training.optimizer.step()

    def step(data):
        training.bring(data)
        graph.replay()
        return loss.item()

    return step


def serve(torch, arguments, answer):
    if arguments.device == "cuda" and not torch.cuda.is_available():
        answer({"error": f"PyTorch {torch.__version__} finds no GPU"})
        return
    torch.set_float32_matmul_precision("highest" if arguments.precision == "fp32" else "high")
    torch.backends.cudnn.allow_tf32 = arguments.precision != "fp32"
    torch.backends.cudnn.benchmark = True
    name = torch.cuda.get_device_name() if arguments.device == "cuda" else arguments.device
    answer({"version": torch.__version__.split("+")[0], "device": name})
    steps = {}
    for line in sys.stdin:
        request = json.loads(line)
        mode, data = request["mode"]
        try:
            if data not in DATA:
                raise ValueError(f"expected data of {', '.join(DATA)}, got {data}")
            if mode not in steps:
                steps[mode] = make_step(torch, arguments, mode)
            answer(torch_reference.measure(functools.partial(steps[mode], data), request["seconds"]))
        except Exception as error:  # the peer's failure is an answer, whatever it is
            reason = str(error).strip().splitlines()
            answer({"error": f"{type(error).__name__}: {reason[0] if reason else 'no message'}"})


def main():
    parser = argparse.ArgumentParser(description="Measure PyTorch on request; started by compare.py.")
    parser.add_argument("--case", required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--precision", choices=PRECISIONS, default="fp32")
    parser.add_argument("--channels-last", action="store_true")
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
