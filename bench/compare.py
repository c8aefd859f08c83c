# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Measures lockstep and PyTorch side by side on this machine's CPU and writes build/compare/compare.json.

    python compare.py [--rounds 7] [--seconds 0.5] [--cases cnn,linear,mlp] [--bin PROGRAM] [--out FILE]

Each round measures everything once, in turn, so that a machine that slows down slows both sides; every second round
goes in reverse order. A measurement is the median step of its time slice. PyTorch is measured at several thread counts,
and the one with the lowest median over the rounds counts. The JSON is an array of {"case", "phase", "peer",
"variant", "ours_s", "peer_s", "ratio", "spread"}: medians over the rounds in seconds a step, ratio = peer_s / ours_s
(above 1: lockstep is faster), spread = (p75 - p25) / median of the ratios of single rounds.
"""

import argparse
import contextlib
import json
import os
import pathlib
import select
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
BATCHES = {"cnn": 64, "linear": 100, "mlp": 64}
REPLICAS = (2, 1)
PHASES = ("train", "infer")
MODE_NAMES = {"eager": "eager", "compile": "torch.compile"}
ANSWER_LIMIT_S = 600  # beyond a slice: the time a first call may take to compile


class CompareError(Exception):
    """Ends the program with its text on stderr."""


class TorchWorker:
    """A living torch_reference.py for one case and one thread count."""

    def __init__(self, case, threads, log):
        self.name = f"PyTorch ({case}, threads: {threads})"
        self.log = log
        command = [sys.executable, str(pathlib.Path(__file__).with_name("torch_reference.py"))]
        command += ["--case", case, "--batch", str(BATCHES[case]), "--threads", str(threads)]
        environment = os.environ | {
            "OMP_NUM_THREADS": str(threads),
            "TORCHINDUCTOR_COMPILE_THREADS": "1",
            "TORCHINDUCTOR_CACHE_DIR": str(pathlib.Path(log.name).with_name("inductor")),
        }
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment
        )

    def receive(self, limit):
        ready, _, _ = select.select([self.process.stdout], [], [], limit)
        if not ready:
            raise CompareError(f"{self.name} gave no answer within {limit:.0f} s; see {self.log.name}")
        line = self.process.stdout.readline()
        if not line:
            raise CompareError(f"{self.name} ended before it answered; see {self.log.name}")
        return json.loads(line)

    def greet(self):
        """Waits until PyTorch is imported; returns its version."""
        answer = self.receive(ANSWER_LIMIT_S)
        if "error" in answer:
            raise CompareError(answer["error"])
        return answer["version"]

    def request(self, mode, phase, seconds):
        message = json.dumps({"mode": mode, "phase": phase, "seconds": seconds}) + "\n"
        try:
            self.process.stdin.write(message.encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            raise CompareError(f"{self.name} has ended; see {self.log.name}") from None
        return self.receive(ANSWER_LIMIT_S + seconds)

    def measure(self, mode, phase, seconds):
        answer = self.request(mode, phase, seconds)
        if "error" in answer:
            raise CompareError(f"{self.name}, {mode}, {phase}: {answer['error']}")
        return answer["median_s"]

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


def measure_ours(program, case, phase, replicas, seconds):
    command = [str(program), "--case", case, "--phase", phase, "--replicas", str(replicas)]
    command += ["--batch", str(BATCHES[case]), "--seconds", str(seconds)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=ANSWER_LIMIT_S + seconds)
    if result.returncode != 0:
        raise CompareError(f"{' '.join(command)} ended with {result.returncode}: {result.stderr.strip()}")
    try:
        answer = json.loads(result.stdout)
        asked = {"case": case, "phase": phase, "replicas": replicas, "batch": BATCHES[case]}
        if {key: answer[key] for key in asked} != asked or not answer["median_s"] > 0:
            raise ValueError
        return answer["median_s"]
    except (ValueError, KeyError, TypeError):
        raise CompareError(
            f"{' '.join(command)}: expected one JSON line with what was asked and a positive median_s, "
            f"got {result.stdout.strip()!r}"
        ) from None


def thread_counts():
    """1 .. all cores this process may use; on large machines powers of two and all."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores <= 4:
        return list(range(1, cores + 1))
    return [1 << bit for bit in range(cores.bit_length()) if 1 << bit < cores] + [cores]


def thread_text(threads):
    if len(threads) == 1:
        return "1 thread"
    if threads == list(range(1, len(threads) + 1)):
        return f"best of 1..{threads[-1]} threads"
    return f"best of {', '.join(map(str, threads))} threads"


def quartile_spread(values):
    if len(values) < 2:
        return 0.0
    lower, middle, upper = statistics.quantiles(values, n=4, method="inclusive")
    return (upper - lower) / middle


def working_modes(workers, phase, modes, options):
    """Warms every worker up and returns the modes that work; eager must."""
    kept = []
    for mode in modes:
        for worker in workers.values():
            answer = worker.request(mode, phase, options.seconds)
            if "error" not in answer:
                continue
            if mode == "eager":
                raise CompareError(f"{worker.name}, {phase}: {answer['error']}")
            print(f"note: {worker.name}: {mode} is left out: {answer['error']}", file=sys.stderr)
            break
        else:
            kept.append(mode)
    return kept


def run_rounds(workers, modes, case, phase, options):
    """Returns the measured times of each contestant, one a round: {("ours", replicas) | (mode, threads): [...]}."""
    seconds = options.seconds
    contestants = {("ours", n): lambda n=n: measure_ours(options.bin, case, phase, n, seconds) for n in REPLICAS}
    for mode in modes:
        for threads, worker in workers.items():
            contestants[mode, threads] = lambda w=worker, m=mode: w.measure(m, phase, seconds)
    times = {key: [] for key in contestants}
    for n in REPLICAS:
        contestants["ours", n]()
    for index in range(options.rounds):
        for key in list(contestants)[:: -1 if index % 2 else 1]:
            times[key].append(contestants[key]())
    return times


def rows_of(times, modes, threads, case, phase, version):
    rows = []
    for mode in modes:
        best = min((times[mode, count] for count in threads), key=statistics.median)
        for replicas in REPLICAS:
            ours = times["ours", replicas]
            ours_s, peer_s = statistics.median(ours), statistics.median(best)
            rows.append(
                {
                    "case": case,
                    "phase": phase,
                    "peer": f"pytorch {version}",
                    "variant": f"{MODE_NAMES[mode]}, {thread_text(threads)}; "
                    f"ours {replicas} replica{'s' if replicas > 1 else ''}",
                    "ours_s": ours_s,
                    "peer_s": peer_s,
                    "ratio": peer_s / ours_s,
                    "spread": quartile_spread([p / o for p, o in zip(best, ours, strict=True)]),
                }
            )
    return rows


def compare_case(case, modes, threads, log, options):
    """Returns (rows, modes that worked)."""
    rows = []
    with contextlib.ExitStack() as stack:
        workers = {}
        for count in threads:
            workers[count] = TorchWorker(case, count, log)
            stack.callback(workers[count].close)
        versions = [worker.greet() for worker in workers.values()]
        for phase in PHASES:
            modes = working_modes(workers, phase, modes, options)
            times = run_rounds(workers, modes, case, phase, options)
            rows += rows_of(times, modes, threads, case, phase, versions[0])
            print(f"{case} {phase}: measured", file=sys.stderr)
    return rows, modes


def print_table(rows):
    width = max(len(row["variant"]) for row in rows)
    print(f"{'case':8}{'phase':7}{'variant':{width + 2}}{'ours':>12}{'peer':>12}{'ratio':>8}{'spread':>8}")
    for row in rows:
        print(
            f"{row['case']:8}{row['phase']:7}{row['variant']:{width + 2}}{row['ours_s'] * 1e6:9.1f} us"
            f"{row['peer_s'] * 1e6:9.1f} us{row['ratio']:8.2f}{row['spread']:8.1%}"
        )


def positive(kind):
    def parse(text):
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"expected a positive number, got {text}")
        return value

    return parse


def case_list(text):
    cases = list(dict.fromkeys(text.split(",")))
    unknown = [case for case in cases if case not in BATCHES]
    if unknown:
        raise argparse.ArgumentTypeError(f"expected cases of {', '.join(BATCHES)}, got {', '.join(unknown)}")
    return cases


def parse_arguments():
    parser = argparse.ArgumentParser(description="Measure lockstep and PyTorch side by side on the CPU.")
    parser.add_argument("--rounds", type=positive(int), default=7, help="measurements of each contestant (7)")
    parser.add_argument("--seconds", type=positive(float), default=0.5, help="length of one measurement (0.5)")
    parser.add_argument("--cases", type=case_list, default=list(BATCHES), help="comma-separated (cnn,linear,mlp)")
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/release/bin/step_time", help="our program")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build/compare/compare.json", help="result")
    return parser.parse_args()


def run(options):
    if not os.access(options.bin, os.X_OK) or options.bin.is_dir():
        raise CompareError(
            f"expected the program step_time at {options.bin}, found none; build the release preset or name it by --bin"
        )
    options.bin = options.bin.resolve()
    options.out = options.out.resolve()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    threads = thread_counts()
    modes = list(MODE_NAMES)
    rows = []
    with options.out.with_suffix(".log").open("w", encoding="utf-8") as log:
        for case in options.cases:
            added, modes = compare_case(case, modes, threads, log, options)
            rows += added
    options.out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    print_table(rows)
    print(f"written: {options.out}")


def main(job=lambda: run(parse_arguments())):
    """Runs a comparison; returns the program's exit code."""
    try:
        job()
    except CompareError as error:
        print(f"compare: {error}", file=sys.stderr)
        return 2
    except subprocess.TimeoutExpired as error:
        print(f"compare: {error.cmd[0]} did not end within {error.timeout:.0f} s", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
