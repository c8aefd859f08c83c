# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""The ONNX Runtime side of compare.py: one process that predicts one case's samples, one at a time in one thread, and
measures on request.

    python onnx_reference.py --case lenet

The network is the one of torch_reference.py, exported by torch.onnx; that its outputs equal PyTorch's is seen first. A
call is run_with_iobinding with an input and an output that are bound once. The network `identity`, which does nothing,
shows what of that is the call from Python.

Each line on stdin is a request {"network": "model" | "identity", "seconds": S}; each line on stdout its answer
{"median_s", "calls"} or {"error"}, where so many calls were timed as one. The first line on stdout greets with
{"version"}, or says {"error"}.
"""

import argparse
import io
import json
import os
import statistics
import sys
import time
import warnings

import torch_reference

SHORTEST_S = 2e-3  # of calls that are timed as one
TOLERANCE = 1e-4


def exported(torch, module, x):
    """The module in ONNX's format."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        # The newer exporter needs one more package.
        warnings.simplefilter("ignore")
        torch.onnx.export(module.eval(), (x,), file, dynamo=False, input_names=["x"], output_names=["y"])
    return file.getvalue()


def make_call(onnxruntime, network, x, expected):
    """Returns a callable that predicts the sample x."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(network, options, providers=["CPUExecutionProvider"])
    binding = session.io_binding()
    sample = onnxruntime.OrtValue.ortvalue_from_numpy(x.numpy())
    result = onnxruntime.OrtValue.ortvalue_from_numpy(expected.numpy() * 0)
    binding.bind_ortvalue_input("x", sample)
    binding.bind_ortvalue_output("y", result)
    run = session.run_with_iobinding

    def call():
        run(binding)

    call()
    error = abs(result.numpy() - expected.numpy()).max()
    if not error <= TOLERANCE:
        raise ValueError(f"ONNX Runtime's outputs differ from PyTorch's by {error}, expected {TOLERANCE} at most")
    return call


def make_calls(torch, onnxruntime, case):
    model, _, x, _ = torch_reference.build(torch, case, 1)
    with torch.inference_mode():
        expected = model.eval()(x)
    return {
        "model": make_call(onnxruntime, exported(torch, model, x), x, expected),
        "identity": make_call(onnxruntime, exported(torch, torch.nn.Identity(), x), x, x),
    }


def time_of(call, calls):
    start = time.perf_counter()
    for _ in range(calls):
        call()
    return time.perf_counter() - start


def measure(call, seconds):
    """The median time of a call, over as many runs of calls as fit into `seconds`. A run lasts at least SHORTEST_S, or
    a fifth of `seconds` where that is less, so that reading the clock counts for nothing."""
    calls = 1
    while time_of(call, calls) < min(SHORTEST_S, seconds / 5):
        calls *= 2
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or not times:
        times.append(time_of(call, calls) / calls)
    return {"median_s": statistics.median(times), "calls": calls}


def serve(calls, version, answer):
    answer({"version": version})
    for line in sys.stdin:
        request = json.loads(line)
        answer(measure(calls[request["network"]], request["seconds"]))


def main():
    parser = argparse.ArgumentParser(description="Measure ONNX Runtime on request; started by compare.py.")
    parser.add_argument("--case", choices=torch_reference.CASES, required=True)
    arguments = parser.parse_args()
    # Answers keep the real stdout; whatever a library prints goes to stderr.
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def answer(message):
        channel.write(json.dumps(message) + "\n")
        channel.flush()

    try:
        import onnx  # noqa: F401: torch.onnx needs it
        import onnxruntime
        import torch
    except ImportError as error:
        needed = f"install torch, numpy, onnx and onnxruntime for {sys.executable}"
        answer({"error": f"it cannot be imported ({error}); {needed}"})
        return
    serve(make_calls(torch, onnxruntime, arguments.case), onnxruntime.__version__, answer)


if __name__ == "__main__":
    main()
