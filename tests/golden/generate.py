# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes the golden values of this folder: what PyTorch computes in float64 on the CPU, and under autocast in bfloat16.

    python generate.py [--out DIR]         needs torch, numpy and safetensors

Everything that goes in (inputs, labels, weights, gradients) is drawn from lockstep's own counter-based generator,
so that a test regenerates it and only results are stored. README.md documents streams, names and cases.
"""

import argparse
import json
import math
import pathlib

import numpy as np
import safetensors.numpy
import torch
import torch.nn.functional as F

SEED = 2024
SYNTHETIC_DATA = 4  # random_purpose::synthetic_data

INPUT_STREAM = 1
LABEL_STREAM = 2
TARGET_STREAM = 3
PARAMETER_STREAM = 100  # + index of the parameter in the model
PROJECTION_STREAM = 1000  # + index of the projection

BATCHES = (1, 2, 63, 64, 100)
AUTOCAST_BATCHES = (64,)
CLASSES = 10
STEPS = 20
FULL_LIMIT = 2048  # gradients with more elements are stored as sample, projection and norm
SAMPLES = 1024
PROJECTIONS = 4


# The generator of include/lockstep/core/random.hpp.


def philox4x32_10(counter, key):
    """Four arrays of 32-bit words in, four out; `key` is two integers."""
    low = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    c = [np.asarray(word, dtype=np.uint64) for word in counter]
    k0, k1 = key
    for _ in range(10):
        a = np.uint64(0xD2511F53) * c[0]
        b = np.uint64(0xCD9E8D57) * c[2]
        c = [(b >> half) ^ c[1] ^ np.uint64(k0), b & low, (a >> half) ^ c[3] ^ np.uint64(k1), a & low]
        k0 = (k0 + 0x9E3779B9) & 0xFFFFFFFF
        k1 = (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c


def check_philox():
    """Known answers of the Random123 distribution."""
    for counter, key, expected in (
        ([0] * 4, [0] * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ):
        got = " ".join(f"{int(word[0]):08x}" for word in philox4x32_10([[word] for word in counter], key))
        if got != expected:
            raise RuntimeError(f"philox4x32_10: expected {expected}, got {got}")


def stream_bits(stream, count):
    """random_stream(seed{SEED}, synthetic_data, stream).bits(0 .. count - 1)."""
    counter = [[stream & 0xFFFFFFFF], [stream >> 32], [0], [0]]
    own = [int(word[0]) for word in philox4x32_10([[SYNTHETIC_DATA], [0], [0], [0]], [SEED, 0])]
    folded = [int(word[0]) for word in philox4x32_10(counter, own[:2])]
    block = np.arange((count + 3) // 4, dtype=np.uint64)
    shift = np.uint64(32)
    lanes = [np.full_like(block, folded[2]), np.full_like(block, folded[3])]
    words = philox4x32_10([block & np.uint64(0xFFFFFFFF), block >> shift, *lanes], folded[:2])
    return np.stack(words, axis=1).reshape(-1)[:count].astype(np.uint32)


def unit(stream, count):
    """u_i in [0, 1), float32."""
    return (stream_bits(stream, count) >> np.uint32(8)).astype(np.float32) * np.float32(2.0**-24)


def symmetric(stream, count, bound=1.0):
    """(2 u_i - 1) * bound in float32: the first factor is exact, so there is one rounding."""
    return (np.float32(2) * unit(stream, count) - np.float32(1)) * np.float32(bound)


def labels(stream, count, classes):
    return (stream_bits(stream, count) % np.uint32(classes)).astype(np.int64)


def fan_in_bound(fan_in):
    return np.float32(1.0 / math.sqrt(fan_in))


def as_tensor(values, shape, dtype=torch.float64):
    return torch.from_numpy(np.array(values)).reshape(shape).to(dtype)


# Whole models: linear, cnn, mlp.


def sequential(**layers):
    model = torch.nn.Sequential()
    for name, layer in layers.items():
        model.add_module(name.lstrip("_"), layer)
    return model


MODELS = {
    "linear": {
        "build": lambda: sequential(fc=torch.nn.Linear(10, 10)),
        "input": [10],
        "loss": "mse",
        "optimizer": {"lr": 0.01},
    },
    "cnn": {
        "build": lambda: sequential(
            conv1=torch.nn.Conv2d(3, 64, 3, padding=1),
            relu=torch.nn.ReLU(),
            flatten=torch.nn.Flatten(),
            fc=torch.nn.Linear(64 * 32 * 32, 10),
        ),
        "input": [3, 32, 32],
        "loss": "cross_entropy",
        "optimizer": {"lr": 0.01},
    },
    "mlp": {
        "build": lambda: sequential(
            _0=torch.nn.Linear(784, 512),
            _1=torch.nn.ReLU(),
            _2=torch.nn.Linear(512, 256),
            _3=torch.nn.ReLU(),
            _4=torch.nn.Linear(256, 10),
        ),
        "input": [784],
        "loss": "cross_entropy",
        "optimizer": {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-4},
    },
}


def initialize(model):
    """Fills every parameter from its stream; the bias takes the bound of the weight before it."""
    bound = None
    table = []
    with torch.no_grad():
        for index, (name, parameter) in enumerate(model.named_parameters()):
            if name.endswith("weight"):
                fan_in = parameter[0].numel()
                bound = fan_in_bound(fan_in)
            stream = PARAMETER_STREAM + index
            parameter.copy_(as_tensor(symmetric(stream, parameter.numel(), bound), parameter.shape))
            table.append({"name": name, "shape": list(parameter.shape), "stream": stream, "fan_in": fan_in})
    return table


def gradient_values(prefix, gradient):
    flat = gradient.detach().double().reshape(-1).numpy()
    if flat.size <= FULL_LIMIT:
        return {prefix: gradient.detach().double().numpy().copy()}
    stride = -(-flat.size // SAMPLES)
    directions = [symmetric(PROJECTION_STREAM + j, flat.size).astype(np.float64) for j in range(PROJECTIONS)]
    return {
        f"{prefix}/sample": flat[::stride].copy(),
        f"{prefix}/projection": np.array([direction @ flat for direction in directions]),
        f"{prefix}/norm": np.array([np.linalg.norm(flat)]),
    }


def run_model(name, batches=BATCHES, dtype=torch.float64, autocast=False):
    """Returns (tensors, description) of one model; with `autocast`, its forward and loss run so in bfloat16."""
    spec = MODELS[name]
    tensors = {}
    for batch in batches:
        model = spec["build"]().to(torch.float64)
        parameters = initialize(model)
        model.to(dtype)
        x = as_tensor(unit(INPUT_STREAM, batch * math.prod(spec["input"])), [batch, *spec["input"]], dtype)
        if spec["loss"] == "mse":
            y = as_tensor(symmetric(TARGET_STREAM, batch * CLASSES), [batch, CLASSES], dtype)
            criterion = torch.nn.MSELoss()
        else:
            y = torch.from_numpy(labels(LABEL_STREAM, batch, CLASSES))
            criterion = torch.nn.CrossEntropyLoss()
        optimizer = torch.optim.SGD(model.parameters(), **spec["optimizer"])
        prefix = f"{name}/b{batch}"
        losses = []
        for step in range(STEPS):
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                output = model(x)
                loss = criterion(output, y)
            loss.backward()
            losses.append(loss.item())
            if step == 0:
                tensors[f"{prefix}/output"] = output.detach().double().numpy().copy()
                for parameter_name, parameter in model.named_parameters():
                    tensors |= gradient_values(f"{prefix}/grad/{parameter_name}", parameter.grad)
            optimizer.step()
        tensors[f"{prefix}/losses"] = np.array(losses)
    description = ({"autocast": "bfloat16"} if autocast else {}) | {
        "model": name,
        "input": spec["input"],
        "loss": spec["loss"],
        "optimizer": spec["optimizer"],
        "batches": list(batches),
        "steps": STEPS,
        "parameters": parameters,
    }
    return tensors, description


# Single layers, losses and optimizer steps. Each case names its first stream; + 0 is x, + 1 weight, + 2 bias, + 3 the
# gradient that arrives from above, + 4 labels, + 5 class weights, + 6 mse targets, + 10 + step an SGD gradient.

IGNORE = -100


def layer_cases():
    """Every case: name -> parameters. The order gives the streams; add new cases at the end of a group."""
    conv = {
        "layer": "conv2d",
        "input": [3, 4, 9, 8],
        "out": 6,
        "kernel": [3, 3],
        "stride": [1, 1],
        "padding": [0, 0],
        "dilation": [1, 1],
        "groups": 1,
        "bias": True,
    }
    pool = {"input": [3, 4, 9, 8], "stride": [2, 2]}
    k2, k3 = {"kernel": [2, 2], "padding": [0, 0]}, {"kernel": [3, 3], "padding": [1, 1]}
    entropy = {
        "layer": "cross_entropy",
        "input": [9, 7],
        "x_bound": 4.0,
        "class_weights": False,
        "label_smoothing": 0.0,
        "ignore_index": IGNORE,
        "ignored": [],
    }
    sgd = {
        "layer": "sgd",
        "input": [16],
        "steps": 5,
        "lr": 0.1,
        "momentum": 0.0,
        "dampening": 0.0,
        "weight_decay": 0.0,
        "nesterov": False,
    }
    groups = {
        10000: {
            "conv2d/plain": conv,
            "conv2d/padding": conv | {"padding": [1, 2]},
            "conv2d/stride": conv | {"stride": [1, 2], "padding": [1, 1]},
            "conv2d/stride_drops_border": conv | {"kernel": [2, 3], "stride": [2, 2]},
            "conv2d/dilation": conv | {"dilation": [2, 3], "padding": [2, 1]},
            "conv2d/groups": conv | {"groups": 2, "padding": [1, 1]},
            "conv2d/depthwise": conv | {"groups": 4, "out": 4, "padding": [1, 1]},
            "conv2d/depthwise_multiplier": conv | {"groups": 4, "out": 8, "padding": [1, 1]},
            "conv2d/no_bias": conv | {"bias": False, "padding": [1, 1]},
            "conv2d/pointwise": conv | {"kernel": [1, 1]},
            "conv2d/all": conv
            | {
                "kernel": [3, 2],
                "stride": [1, 2],
                "padding": [1, 2],
                "dilation": [2, 1],
                "groups": 2,
                "bias": False,
            },
            "conv2d/batch_of_one": conv | {"input": [1, 4, 9, 8], "padding": [1, 1]},
        },
        20000: {
            "max_pool2d/k2s2": {"layer": "max_pool2d"} | pool | k2,
            "max_pool2d/k3s2p1": {"layer": "max_pool2d"} | pool | k3,
            "avg_pool2d/k2s2": {"layer": "avg_pool2d"} | pool | k2 | {"count_include_pad": True},
            "avg_pool2d/k3s2p1_count_pad": {"layer": "avg_pool2d"} | pool | k3 | {"count_include_pad": True},
            "avg_pool2d/k3s2p1_ignore_pad": {"layer": "avg_pool2d"} | pool | k3 | {"count_include_pad": False},
        },
        30000: {
            "linear/bias": {"layer": "linear", "input": [5, 12], "out": 7, "bias": True},
            "linear/no_bias": {"layer": "linear", "input": [5, 12], "out": 7, "bias": False},
        },
        40000: {"relu": {"layer": "relu", "input": [5, 24]}},
        50000: {
            "cross_entropy/plain": entropy,
            "cross_entropy/weights": entropy | {"class_weights": True},
            "cross_entropy/smoothing": entropy | {"label_smoothing": 0.1},
            "cross_entropy/smoothing_weights": entropy | {"label_smoothing": 0.1, "class_weights": True},
            "cross_entropy/ignore_some": entropy | {"ignored": [1, 4, 7]},
            "cross_entropy/ignore_all_but_one": entropy | {"ignored": [0, 1, 2, 3, 4, 6, 7, 8]},
            "cross_entropy/ignore_weights": entropy | {"ignored": [1, 4, 7], "class_weights": True},
            "cross_entropy/ignore_smoothing_weights": entropy
            | {"ignored": [0, 5], "class_weights": True, "label_smoothing": 0.2},
            "cross_entropy/ignore_smoothing": entropy | {"ignored": [0, 5], "label_smoothing": 0.2},
            "cross_entropy/ignore_a_class": entropy | {"ignore_index": 2, "ignored": [3]},
        },
        60000: {"mse": {"layer": "mse", "input": [5, 6]}},
        70000: {
            "sgd/plain": sgd,
            "sgd/momentum": sgd | {"momentum": 0.9},
            "sgd/dampening": sgd | {"momentum": 0.9, "dampening": 0.3},
            "sgd/nesterov": sgd | {"momentum": 0.9, "nesterov": True},
            "sgd/weight_decay": sgd | {"weight_decay": 0.05},
            "sgd/momentum_weight_decay": sgd | {"momentum": 0.9, "weight_decay": 0.05},
            "sgd/dampening_weight_decay": sgd | {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.05},
            "sgd/nesterov_weight_decay": sgd | {"momentum": 0.9, "nesterov": True, "weight_decay": 0.05},
        },
    }
    return {
        name: {"name": name, "stream": base + 100 * index} | case
        for base, group in groups.items()
        for index, (name, case) in enumerate(group.items())
    }


def random_tensor(stream, shape, bound=1.0):
    return as_tensor(symmetric(stream, math.prod(shape), bound), shape)


def case_weights(case):
    """(weight, bias) of a layer case, each a leaf or None."""
    if case["layer"] == "conv2d":
        shape = [case["out"], case["input"][1] // case["groups"], *case["kernel"]]
    elif case["layer"] == "linear":
        shape = [case["out"], case["input"][1]]
    else:
        return None, None
    bound = fan_in_bound(math.prod(shape[1:]))
    weight = random_tensor(case["stream"] + 1, shape, bound).requires_grad_()
    if not case["bias"]:
        return weight, None
    return weight, random_tensor(case["stream"] + 2, [case["out"]], bound).requires_grad_()


def layer_output(case, x, weight, bias):
    window = {key: case[key] for key in ("stride", "padding") if key in case}
    match case["layer"]:
        case "conv2d":
            return F.conv2d(x, weight, bias, dilation=case["dilation"], groups=case["groups"], **window)
        case "max_pool2d":
            return F.max_pool2d(x, case["kernel"], **window)
        case "avg_pool2d":
            return F.avg_pool2d(x, case["kernel"], count_include_pad=case["count_include_pad"], **window)
        case "linear":
            return F.linear(x, weight, bias)
        case "relu":
            return F.relu(x)
    raise ValueError(f"no layer is called {case['layer']}")


def run_layer(case):
    x = random_tensor(case["stream"], case["input"]).requires_grad_()
    weight, bias = case_weights(case)
    output = layer_output(case, x, weight, bias)
    output.backward(random_tensor(case["stream"] + 3, output.shape))
    results = {"output": output, "grad_x": x.grad}
    if weight is not None:
        results["grad_weight"] = weight.grad
    if bias is not None:
        results["grad_bias"] = bias.grad
    return results


def run_loss(case):
    x = random_tensor(case["stream"], case["input"], case.get("x_bound", 1.0)).requires_grad_()
    if case["layer"] == "mse":
        loss = F.mse_loss(x, random_tensor(case["stream"] + 6, case["input"]))
    else:
        batch, classes = case["input"]
        target = labels(case["stream"] + 4, batch, classes)
        target[case["ignored"]] = case["ignore_index"]
        weights = as_tensor(unit(case["stream"] + 5, classes), [classes]) if case["class_weights"] else None
        loss = F.cross_entropy(
            x,
            torch.from_numpy(target),
            weight=weights,
            ignore_index=case["ignore_index"],
            label_smoothing=case["label_smoothing"],
        )
    loss.backward()
    return {"loss": loss.reshape(1), "grad_x": x.grad}


def run_sgd(case):
    parameter = random_tensor(case["stream"], case["input"]).requires_grad_()
    options = {key: case[key] for key in ("lr", "momentum", "dampening", "weight_decay", "nesterov")}
    optimizer = torch.optim.SGD([parameter], **options)
    after = []
    for step in range(case["steps"]):
        parameter.grad = random_tensor(case["stream"] + 10 + step, case["input"])
        optimizer.step()
        after.append(parameter.detach().clone())
    return {"parameters": torch.stack(after)}


def run_layers():
    cases = layer_cases()
    runners = {"cross_entropy": run_loss, "mse": run_loss, "sgd": run_sgd}
    tensors = {}
    for name, case in cases.items():
        for key, value in runners.get(case["layer"], run_layer)(case).items():
            tensors[f"{name}/{key}"] = value.detach().numpy().copy()
    return tensors, {"cases": list(cases.values())}


def run_streams():
    """The first draws themselves, so that a wrong generator is told from a wrong layer."""
    tensors = {f"uniform/{stream}": unit(stream, 64) for stream in (INPUT_STREAM, PARAMETER_STREAM, 10000)}
    tensors[f"symmetric/{PARAMETER_STREAM}"] = symmetric(PARAMETER_STREAM, 64, fan_in_bound(10))
    tensors[f"labels/{LABEL_STREAM}"] = labels(LABEL_STREAM, 64, CLASSES)
    return tensors, {"seed": SEED, "symmetric_fan_in": 10, "classes": CLASSES}


def save(path, tensors, description):
    for name, tensor in tensors.items():
        if not np.isfinite(tensor).all():
            raise RuntimeError(f"{name} holds a value that is not finite")
    description = {"pytorch": torch.__version__.split("+")[0]} | description
    safetensors.numpy.save_file(tensors, path, metadata={"golden": json.dumps(description)})
    path.chmod(0o644)
    print(f"{path.name}: {len(tensors)} tensors, {path.stat().st_size} bytes")


def main():
    parser = argparse.ArgumentParser(description="Write the golden values from PyTorch in float64.")
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # one order of summation, whatever the machine
    check_philox()
    for name in MODELS:
        save(arguments.out / f"{name}.safetensors", *run_model(name))
        save(
            arguments.out / f"{name}_bf16.safetensors",
            *run_model(name, AUTOCAST_BATCHES, torch.float32, autocast=True),
        )
    save(arguments.out / "layers.safetensors", *run_layers())
    save(arguments.out / "streams.safetensors", *run_streams())


if __name__ == "__main__":
    main()
