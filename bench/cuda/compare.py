# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Measures lockstep and PyTorch side by side on one GPU and writes build/compare/compare_cuda.json.

    python compare.py [--rounds 7] [--seconds 0.2] [--cases linear,mlp,cnn,deep] [--modes eager,compile,graph]
                      [--precision fp32,tf32,bf16] [--data device,pinned] [--channels-last] [--bin PROGRAM] [--out FILE]

The JSON is that of ../compare.py: an array of {"case", "phase", "peer", "peer_version", "precision", "variant",
"ours_s", "peer_s", "ratio", "spread"}, medians over the rounds in seconds a step, ratio = peer_s / ours_s (above 1:
lockstep is faster). Each round measures everything once, in turn, every second one in reverse order.

In a step of either side the host reads the loss, and the batch lies at the same place: in the device's memory, or in
pinned memory of the host, from where each step copies it. Like is compared with like: float32 whose products round
nothing, or round their factors to TF32; or passes in bfloat16 between parameters and gradients of float32, on PyTorch's
side under autocast. A case may be given with its batch (cnn/64).
"""

import argparse
import contextlib
import importlib.util
import itertools
import json
import os
import pathlib
import statistics
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
UNIT_S = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}
BATCHES = {"linear": (100,), "mlp": (64, 1024), "cnn": (64, 1024), "deep": (64, 256)}
REPLICAS = (1, 2)
PHASE = "train"
MODE_NAMES = {"eager": "eager", "compile": "torch.compile max-autotune", "graph": "CUDA graph"}
DATA_NAMES = {"device": "data on the device", "pinned": "data in pinned memory"}
PRECISIONS = ("fp32", "tf32", "bf16")


def load_cpu_compare():
    """The sibling for the CPU; by its path, since it has this file's name."""
    spec = importlib.util.spec_from_file_location("cpu_compare", HERE.parent / "compare.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


cpu_compare = load_cpu_compare()
CompareError = cpu_compare.CompareError
choice_list = cpu_compare.choice_list


class TorchWorker(cpu_compare.TorchWorker):
    """A living torch_worker.py for one case and one precision."""

    def __init__(self, case, batch, precision, log, options):
        self.name = f"PyTorch ({case}, batch {batch}, {precision})"
        self.log = log
        command = [sys.executable, str(HERE / "torch_worker.py"), "--case", case, "--batch", str(batch)]
        command += ["--device", options.device]
        command += ["--precision", precision] + ["--channels-last"] * options.channels_last
        environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(pathlib.Path(log.name).with_name("inductor"))}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment
        )


def parse_ours(text, case, batch, precision, data):
    """The times in Google Benchmark's JSON: {(replicas, precision, data): seconds}. Raises ValueError for anything else."""
    times = {}
    for run in json.loads(text)["benchmarks"]:
        if run.get("error_occurred"):
            raise ValueError(f"{run['name']}: {run['error_message']}")
        name, replicas, rounding, where, samples = run["name"].split("/")[:5]
        if name != case or samples != f"batch:{batch}" or not run["real_time"] > 0:
            raise ValueError(f"unexpected result {run['name']}")
        key = int(replicas.removeprefix("replicas:")), rounding.removeprefix("precision:"), where
        times[key] = run["real_time"] * UNIT_S[run["time_unit"]]
    wanted = set(itertools.product(REPLICAS, precision, data))
    if times.keys() != wanted:
        raise ValueError(f"expected results for {sorted(wanted)}, got {sorted(times)}")
    return times


def measure_ours(options, case, batch):
    """Returns {(replicas, precision, data): seconds a step}."""
    replicas, precision, where = ("|".join(map(str, each)) for each in (REPLICAS, options.precision, options.data))
    names = f"^{case}/replicas:({replicas})/precision:({precision})/({where})/batch:{batch}/"
    command = [str(options.bin), f"--benchmark_filter={names}"]
    command += [f"--benchmark_min_time={options.seconds}", "--benchmark_format=json"]
    limit = cpu_compare.ANSWER_LIMIT_S + 10 * options.seconds
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=limit)
    if result.returncode != 0:
        raise CompareError(f"{' '.join(command)} ended with {result.returncode}: {result.stderr.strip()}")
    try:
        return parse_ours(result.stdout, case, batch, options.precision, options.data)
    except (ValueError, KeyError, TypeError) as error:
        raise CompareError(f"{' '.join(command)}: {error}") from None


def working_modes(workers, options):
    """Warms every worker up and returns the (mode, data) that work with every precision; eager must."""
    kept = []
    for mode in options.modes:
        failed = False
        for worker, data in itertools.product(workers.values(), options.data):
            answer = worker.request([mode, data], PHASE, options.seconds)
            failed = "error" in answer
            if failed and mode == "eager":
                raise CompareError(f"{worker.name}: {answer['error']}")
            if failed:
                print(f"note: {worker.name}: {mode} is left out: {answer['error']}", file=sys.stderr)
                break
        if not failed:
            kept += [(mode, data) for data in options.data]
    return kept


def run_rounds(workers, variants, case, batch, options):
    """Returns ({(replicas, precision, data): [...]}, {(precision, mode, data): [...]}): a time a round each."""
    ours = {key: [] for key in itertools.product(REPLICAS, options.precision, options.data)}
    peers = {(precision, *variant): [] for precision in workers for variant in variants}

    def measure(key):
        if key is None:
            for place, seconds in measure_ours(options, case, batch).items():
                ours[place].append(seconds)
        else:
            precision, *variant = key
            peers[key].append(workers[precision].measure(variant, PHASE, options.seconds))

    turns = [None, *peers]
    for index in range(options.rounds):
        for key in turns[:: -1 if index % 2 else 1]:
            measure(key)
    return ours, peers


def rows_of(ours, peers, case, batch, version):
    rows = []
    for (precision, mode, data), peer in peers.items():
        for replicas in REPLICAS:
            own = ours[replicas, precision, data]
            ours_s, peer_s = statistics.median(own), statistics.median(peer)
            rows.append(
                {
                    "case": case,
                    "phase": PHASE,
                    "peer": "pytorch",
                    "peer_version": version,
                    "precision": precision,
                    "variant": f"batch {batch}, {MODE_NAMES[mode]}, {precision}, {DATA_NAMES[data]}; "
                    f"ours {replicas} replica{'s' if replicas > 1 else ''}",
                    "ours_s": ours_s,
                    "peer_s": peer_s,
                    "ratio": peer_s / ours_s,
                    "spread": cpu_compare.quartile_spread([p / o for p, o in zip(peer, own, strict=True)]),
                }
            )
    return rows


def compare_case(case, batch, log, options):
    with contextlib.ExitStack() as stack:
        workers = {}
        for precision in options.precision:
            workers[precision] = TorchWorker(case, batch, precision, log, options)
            stack.callback(workers[precision].close)
        versions = [worker.greet() for worker in workers.values()]
        variants = working_modes(workers, options)
        ours, peers = run_rounds(workers, variants, case, batch, options)
    print(f"{case}, batch {batch}: measured", file=sys.stderr)
    return rows_of(ours, peers, case, batch, versions[0])


def case_list(text):
    """Cases with their batches: `cnn` is all of them, `cnn/64` one."""
    known = {case: [(case, batch) for batch in batches] for case, batches in BATCHES.items()}
    known |= {f"{case}/{batch}": [(case, batch)] for case, batches in BATCHES.items() for batch in batches}
    chosen = choice_list(known)(text)
    return list(dict.fromkeys(pair for word in chosen for pair in known[word]))


def parse_arguments(arguments=None):
    positive = cpu_compare.positive
    parser = argparse.ArgumentParser(description="Measure lockstep and PyTorch side by side on one GPU.")
    parser.add_argument("--rounds", type=positive(int), default=7, help="measurements of each contestant (7)")
    parser.add_argument("--seconds", type=positive(float), default=0.2, help="length of one measurement (0.2)")
    parser.add_argument(
        "--cases", type=case_list, default=case_list(",".join(BATCHES)), help="comma-separated (linear,mlp,cnn,deep)"
    )
    parser.add_argument(
        "--modes", type=choice_list(MODE_NAMES), default=list(MODE_NAMES), help="of PyTorch (eager,compile,graph)"
    )
    parser.add_argument(
        "--precision", type=choice_list(PRECISIONS), default=list(PRECISIONS), help="of both sides (fp32,tf32,bf16)"
    )
    parser.add_argument(
        "--data", type=choice_list(DATA_NAMES), default=list(DATA_NAMES), help="where batches lie (device,pinned)"
    )
    parser.add_argument("--channels-last", action="store_true", help="PyTorch's pictures and filters in that order")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda", help="of PyTorch; cpu: only to try this")
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/cuda/bin/cuda_step", help="our program")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build/compare/compare_cuda.json", help="result")
    return parser.parse_args(arguments)


def run(options):
    if not os.access(options.bin, os.X_OK) or options.bin.is_dir():
        raise CompareError(
            f"expected the program cuda_step at {options.bin}, found none; build the cuda preset or name it by --bin"
        )
    options.bin = options.bin.resolve()
    options.out = options.out.resolve()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    with options.out.with_suffix(".log").open("w", encoding="utf-8") as log:
        for case, batch in options.cases:
            rows += compare_case(case, batch, log, options)
            # After each case, so that a run that is cut off leaves what it has measured.
            options.out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    cpu_compare.print_table(rows)
    print(f"written: {options.out}")


if __name__ == "__main__":
    sys.exit(cpu_compare.main(lambda: run(parse_arguments())))
