# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The PyTorch side of compare.py: one process that holds one case at one thread count and measures on request.

    python torch_reference.py --case cnn --batch 64 --threads 2 [--optimizer sgd]
    python torch_reference.py --count cnn,linear

Each line on stdin is a request {"mode": [MODE, LAYOUT, PRECISION], "phase": "train" | "infer" | "generate", "seconds":
S} with MODE eager, compile or freeze, LAYOUT contiguous or channels_last and PRECISION fp32, autocast or bf16; each
line on stdout its answer {"median_s", "steps"} or {"error"}. The first line on stdout greets with {"version"}, or says
{"error"}. --count prints the numbers of parameters instead: {"parameters": {case: number}} or {"error"}.

A training step is zero_grad, forward, loss, backward and the update, in the implementation of the optimizer that is the
fastest for these parameters. Inference is forward alone, in inference mode. `compile` is torch.compile of the forward
pass, and of the loss in training; `freeze`, not for training, is torch.compile that takes the weights as constants,
folds them and packs them. Batches lie in the layout already.

Generation, of the networks of tokens, writes one text token by token in inference mode, after a prompt of one token,
from the keys and values, or the states, of the tokens before; its time is that of a token. `compile` is torch.compile
of the step from one token to the next.

`autocast` keeps parameters and pictures in float32 and does forward and loss under torch.autocast in bfloat16; `bf16`,
not for training, is the model converted to bfloat16, and so are the pictures, before anything is measured.
"""

import argparse
import contextlib
import json
import os
import statistics
import sys
import time

LEARNING_RATE = 0.01  # of SGD
WARM_UP_STEPS = 3
MODES = ("eager", "compile", "freeze")
LAYOUTS = ("contiguous", "channels_last")
PRECISIONS = ("fp32", "autocast", "bf16")
# The torch.optim of each, and its options where they are not the defaults.
OPTIMIZERS = {"sgd": ("SGD", {"lr": LEARNING_RATE}), "adamw": ("AdamW", {"lr": 0.001})}
OPTIMIZER_VARIANTS = ({"foreach": False}, {"foreach": True}, {"fused": True})
OPTIMIZER_TRIALS = 9


def lenet(nn):
    """examples/models/lenet.hpp."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(256, 120), nn.ReLU(inplace=True),
        nn.Linear(120, 84), nn.ReLU(inplace=True),
        nn.Linear(84, 10),
    )  # fmt: skip


def vgg8(nn):
    """examples/models/vgg8.hpp."""
    layers = []
    for inputs, outputs in ((3, 64), (64, 128), (128, 256)):
        layers += [nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU(inplace=True)]
        layers += [nn.Conv2d(outputs, outputs, 3, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
    return nn.Sequential(
        *layers, nn.Flatten(), nn.Linear(256 * 4 * 4, 256), nn.ReLU(inplace=True), nn.Linear(256, 10)
    )


def resnet20(nn):
    """examples/models/resnet20.hpp; the module that train_resnet20.py trains."""
    import train_resnet20

    return train_resnet20.resnet20()


def gpt(nn):
    import torch_sequences

    return torch_sequences.Gpt()


def lstm(nn):
    import torch_sequences

    return torch_sequences.Lstm()


def cnn(nn):
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(64 * 32 * 32, 10)
    )


def mlp(nn):
    return nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(inplace=True), nn.Linear(512, 256), nn.ReLU(inplace=True), nn.Linear(256, 10)
    )


def linear(nn):
    return nn.Linear(10, 10)


def dense16(nn):
    return nn.Linear(16, 16)


def dense64(nn):
    return nn.Linear(64, 64)


def mlp8(nn):
    return nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))


TOKENS = None
# The module and the extents of a sample.
CASES = {
    "cnn": (cnn, (3, 32, 32)),
    "linear": (linear, (10,)),
    "mlp": (mlp, (784,)),
    "lenet": (lenet, (1, 28, 28)),
    "vgg8": (vgg8, (3, 32, 32)),
    "resnet20": (resnet20, (3, 32, 32)),
    "gpt": (gpt, TOKENS),
    "lstm": (lstm, TOKENS),
    "dense16": (dense16, (16,)),
    "dense64": (dense64, (64,)),
    "mlp8": (mlp8, (8,)),
}
# Whose loss is the mean squared error, with the number of outputs.
REGRESSIONS = {"linear": 10, "dense16": 16, "dense64": 64, "mlp8": 1}


def build(torch, case, batch):
    """Returns (model, loss, inputs, targets)."""
    if case not in CASES:
        raise ValueError(f"expected one of the cases {', '.join(CASES)}, got {case}")
    module, extents = CASES[case]
    torch.manual_seed(0)
    if extents is TOKENS:
        import torch_sequences as sequences

        return module(torch.nn), sequences.TokenLoss(), *(sequences.random_tokens(batch) for _ in range(2))
    x = torch.rand(batch, *extents)
    if case in REGRESSIONS:
        return module(torch.nn), torch.nn.MSELoss(), x, torch.rand(batch, REGRESSIONS[case])
    return module(torch.nn), torch.nn.CrossEntropyLoss(), x, torch.randint(0, 10, (batch,))


def fastest_optimizer(torch, name, model):
    """The optimizer in the implementation that is the fastest for the model's parameters, which have gradients."""
    kind, options = getattr(torch.optim, OPTIMIZERS[name][0]), OPTIMIZERS[name][1]
    trials = []
    for variant in OPTIMIZER_VARIANTS:
        # Without a learning rate, so that the parameters keep their values.
        optimizer = kind(model.parameters(), lr=0.0, **variant)
        optimizer.step()
        trials.append((variant, optimizer, []))
    for _ in range(OPTIMIZER_TRIALS):
        for _, optimizer, times in trials:
            start = time.perf_counter()
            optimizer.step()
            times.append(time.perf_counter() - start)
    variant = min(trials, key=lambda trial: statistics.median(trial[2]))[0]
    return kind(model.parameters(), **options, **variant)


def check_way(case, mode, layout, precision, phase):
    if mode not in MODES or layout not in LAYOUTS or precision not in PRECISIONS:
        raise ValueError(
            f"expected one of {MODES}, of {LAYOUTS} and of {PRECISIONS}, got {mode}, {layout} and {precision}"
        )
    for word in (mode, precision):
        if word in ("freeze", "bf16") and phase == "train":
            raise ValueError(f"{word} is not for the phase train")
    if phase == "generate" and CASES[case][1] is not TOKENS:
        raise ValueError(f"expected a network of tokens to generate with, got {case}")


def make_step(torch, case, batch, optimizer, mode, layout, precision, phase):
    """Returns a callable that does one step, in the phase generate a text, with a model of its own; a compiled one is
    compiled here or in its first call."""
    check_way(case, mode, layout, precision, phase)
    model, criterion, x, y = build(torch, case, batch)
    if layout == "channels_last":
        model = model.to(memory_format=torch.channels_last)
        x = x.contiguous(memory_format=torch.channels_last)
    if precision == "bf16":
        model = model.to(torch.bfloat16)
        x = x.to(torch.bfloat16) if x.is_floating_point() else x
    options = {"freezing": True, "max_autotune": True} if mode == "freeze" else None

    def wrap(function):
        return function if mode == "eager" else torch.compile(function, options=options)

    def casting():
        return torch.autocast("cpu", torch.bfloat16) if precision == "autocast" else contextlib.nullcontext()

    if phase == "generate":
        import torch_sequences

        write = torch_sequences.text_writer(model.eval(), wrap(model.write))

        def generate():
            with torch.inference_mode(), casting():
                return write()

        return generate

    if phase == "infer":
        predict = wrap(model.eval())

        def infer():
            with torch.inference_mode(), casting():
                predict(x)

        return infer

    model.train()
    objective = wrap(lambda x, y: criterion(model(x), y))

    def backward():
        with casting():
            loss = objective(x, y)
        loss.backward()

    backward()
    update = fastest_optimizer(torch, optimizer, model)

    def train():
        update.zero_grad()
        backward()
        update.step()

    return train


def measure(step, seconds, parts=1):
    """The median time of a step's part, of which it has so many, over as many steps as fit into `seconds`, after a few
    that do not count."""
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
    return {"median_s": statistics.median(times) / parts, "steps": len(times)}


def parts_of_step(phase):
    """What the time of a step is divided by: the tokens of a text."""
    if phase != "generate":
        return 1
    import torch_sequences

    return torch_sequences.LENGTH - 1


def count(torch, cases):
    return {case: sum(p.numel() for p in build(torch, case, 1)[0].parameters()) for case in cases}


def serve(torch, arguments, answer):
    torch.set_num_threads(arguments.threads)
    steps = {}
    answer({"version": torch.__version__.split("+")[0]})
    for line in sys.stdin:
        request = json.loads(line)
        key = *request["mode"], request["phase"]
        try:
            if key not in steps:
                steps[key] = make_step(torch, arguments.case, arguments.batch, arguments.optimizer, *key)
            answer(measure(steps[key], request["seconds"], parts_of_step(request["phase"])))
        except Exception as error:  # the peer's failure is an answer, whatever it is
            reason = str(error).strip().splitlines()
            answer({"error": f"{type(error).__name__}: {reason[0] if reason else 'no message'}"})


def main():
    parser = argparse.ArgumentParser(description="Measure PyTorch on request; started by compare.py.")
    parser.add_argument("--case", choices=CASES)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="sgd")
    parser.add_argument("--count", type=lambda text: text.split(","), help="cases whose parameters to count")
    arguments = parser.parse_args()
    if not arguments.count and None in (arguments.case, arguments.batch, arguments.threads):
        parser.error("expected --case, --batch and --threads, or --count")
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
    if arguments.count:
        answer({"parameters": count(torch, arguments.count)})
    else:
        serve(torch, arguments, answer)


if __name__ == "__main__":
    main()
