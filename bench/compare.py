# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Measures lockstep and PyTorch side by side on this machine's CPU and writes build/compare/compare.json.

    python compare.py [--cases lenet,vgg8] [--phases train] [--modes eager,compile] [--layouts contiguous]
                      [--threads 1,2] [--rounds 7] [--seconds 0.5] [--smoke] [--bin PROGRAM] [--out FILE]

Both sides hold the same networks, whose numbers of parameters are compared first, and do the same steps; see
torch_reference.py. Each round measures everything once, in turn, so that a machine that slows down slows both sides;
every second round goes in reverse order. A measurement is the median step of its time slice. PyTorch is measured with
contiguous pictures and with channels last, eager and compiled, at every number of threads from 1 to the cores.

The JSON is an array of {"case", "phase", "peer", "variant", "ours_s", "peer_s", "ratio", "spread"}: medians over the
rounds in seconds a step, ratio = peer_s / ours_s (above 1: lockstep is faster), spread = (p75 - p25) / median of the
ratios of single rounds. There is a row for each way to run PyTorch and each number of our replicas. The rows of a case
and phase come in the order of peer_s, then ours_s, and the variants of PyTorch's fastest way begin with "best: ", so
that the first row compares the best of both sides. Where PyTorch cannot run in some way, as torch.compile without a C++
compiler, these variants end with what was left out and why.
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
TORCH_REFERENCE = pathlib.Path(__file__).resolve().with_name("torch_reference.py")
BATCHES = {"cnn": 64, "linear": 100, "mlp": 64, "lenet": 128, "vgg8": 64, "resnet20": 128}
CASES_WITHOUT_PICTURES = ("linear", "mlp")
REPLICAS = (4, 2, 1)
PHASES = ("train", "infer")
MODE_NAMES = {"eager": "eager", "compile": "torch.compile", "freeze": "torch.compile with frozen weights"}
LAYOUT_NAMES = {"contiguous": "contiguous", "channels_last": "channels last"}
ANSWER_LIMIT_S = 600  # beyond a slice: the time a first call may take to compile


class CompareError(Exception):
    """Ends the program with its text on stderr."""


class TorchWorker:
    """A living torch_reference.py for one case and one thread count."""

    def __init__(self, case, threads, log):
        self.name = f"PyTorch ({case}, threads: {threads})"
        self.log = log
        command = [sys.executable, str(TORCH_REFERENCE)]
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


def ask(command, limit, **streams):
    """Runs a program that answers with one line of JSON, and returns that."""
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False, timeout=limit, **streams)
    if result.returncode != 0:
        reason = (result.stderr or "see the log").strip()
        raise CompareError(f"{' '.join(command)} ended with {result.returncode}: {reason}")
    try:
        return json.loads(result.stdout)
    except ValueError:
        raise CompareError(f"{' '.join(command)}: expected one line of JSON, got {result.stdout.strip()!r}") from None


def ask_ours(program, limit, **asked):
    """The answer of step_time, which repeats what was asked."""
    command = [str(program)]
    for name, value in asked.items():
        command += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    answer = ask(command, limit, stderr=subprocess.PIPE)
    repeated = {name: asked[name] for name in ("case", "phase", "replicas", "batch") if name in asked}
    if {name: answer.get(name) for name in repeated} != repeated:
        raise CompareError(f"{' '.join(command)}: expected what was asked, got {answer}")
    return answer


def measure_ours(program, case, phase, replicas, seconds):
    limit = ANSWER_LIMIT_S + seconds
    batch = BATCHES[case]
    answer = ask_ours(program, limit, case=case, phase=phase, replicas=replicas, batch=batch, seconds=seconds)
    if not answer.get("median_s", 0) > 0:
        raise CompareError(f"{program}: expected a positive median_s, got {answer}")
    return answer["median_s"]


def check_parameters(log, options):
    """Both sides must have the same networks; sees that their numbers of parameters are equal."""
    command = [sys.executable, str(TORCH_REFERENCE), "--count", ",".join(options.cases)]
    answer = ask(command, ANSWER_LIMIT_S, stderr=log)
    if "error" in answer:
        raise CompareError(answer["error"])
    for case in options.cases:
        ours = ask_ours(options.bin, ANSWER_LIMIT_S, case=case, parameters=True).get("parameters")
        theirs = answer["parameters"][case]
        if ours != theirs:
            raise CompareError(
                f"{case}: expected the same network on both sides, got {ours} parameters in {options.bin} and {theirs} "
                f"in {TORCH_REFERENCE}; build step_time anew or mend the one that is wrong"
            )


def core_count():
    """Of the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def quartile_spread(values):
    if len(values) < 2:
        return 0.0
    lower, middle, upper = statistics.quantiles(values, n=4, method="inclusive")
    return (upper - lower) / middle


def ways_of(case, phase, options):
    """The (mode, layout) in which PyTorch may do it."""
    modes = [mode for mode in options.modes if phase == "infer" or mode != "freeze"]
    layouts = ["contiguous"] if case in CASES_WITHOUT_PICTURES else options.layouts
    return [(mode, layout) for mode in modes for layout in layouts]


def way_text(mode, layout, threads):
    return f"{MODE_NAMES[mode]}, {LAYOUT_NAMES[layout]}, {threads} thread{'s' if threads > 1 else ''}"


def warm_up(workers, ways, phase):
    """Has every worker do a few steps in every way; eager must work. Returns the (mode, layout, threads) that work, and
    for the others {what: reason}."""
    working, failures = [], {}
    for mode, layout in ways:
        for threads, worker in workers.items():
            answer = worker.request([mode, layout], phase, 0)
            if "error" not in answer:
                working.append((mode, layout, threads))
            elif mode == "eager":
                raise CompareError(f"{worker.name}, {phase}: {answer['error']}")
            else:
                failures[mode, layout, threads] = answer["error"]
    if not working:
        reason = next(iter(failures.values()))
        raise CompareError(f"none of the modes that were asked for works in {phase}: {reason}")
    left_out = {}
    for way, reason in failures.items():
        works_elsewhere = any(mode == way[0] for mode, _, _ in working)
        left_out.setdefault(way_text(*way) if works_elsewhere else MODE_NAMES[way[0]], reason)
    for way, reason in left_out.items():
        print(f"note: PyTorch's {way} is left out in {phase}: {reason}", file=sys.stderr)
    return working, left_out


def run_rounds(workers, ways, replicas, case, phase, options):
    """Returns ({replicas: [...]}, {(mode, layout, threads): [...]}): a time a round each."""
    seconds = options.seconds
    ours, peers = {n: [] for n in replicas}, {way: [] for way in ways}

    def measure(key):
        if key in ours:
            ours[key].append(measure_ours(options.bin, case, phase, key, seconds))
        else:
            mode, layout, threads = key
            peers[key].append(workers[threads].measure([mode, layout], phase, seconds))

    for n in replicas:
        measure_ours(options.bin, case, phase, n, seconds)
    turns = [*ours, *peers]
    for index in range(options.rounds):
        for key in turns[:: -1 if index % 2 else 1]:
            measure(key)
    return ours, peers


def rows_of(ours, peers, left_out, case, phase, version):
    """The rows of a case and phase, those of PyTorch's fastest way first."""
    rows = []
    best = min(peers, key=lambda way: statistics.median(peers[way]))
    note = "".join(f"; left out: {way} ({reason})" for way, reason in left_out.items())
    for way, peer in peers.items():
        for replicas, own in ours.items():
            variant = f"{way_text(*way)}; ours {replicas} replica{'s' if replicas > 1 else ''}"
            ours_s, peer_s = statistics.median(own), statistics.median(peer)
            rows.append(
                {
                    "case": case,
                    "phase": phase,
                    "peer": f"pytorch {version}",
                    "variant": f"best: {variant}{note}" if way == best else variant,
                    "ours_s": ours_s,
                    "peer_s": peer_s,
                    "ratio": peer_s / ours_s,
                    "spread": quartile_spread([p / o for p, o in zip(peer, own, strict=True)]),
                }
            )
    return sorted(rows, key=lambda row: (not row["variant"].startswith("best"), row["peer_s"], row["ours_s"]))


def compare_case(case, log, options):
    """Yields the rows of each phase."""
    with contextlib.ExitStack() as stack:
        workers = {}
        for threads in options.threads:
            workers[threads] = TorchWorker(case, threads, log)
            stack.callback(workers[threads].close)
        versions = [worker.greet() for worker in workers.values()]
        replicas = [n for n in REPLICAS if n <= core_count()]
        for phase in options.phases:
            ways, left_out = warm_up(workers, ways_of(case, phase, options), phase)
            ours, peers = run_rounds(workers, ways, replicas, case, phase, options)
            print(f"{case} {phase}: measured", file=sys.stderr)
            yield rows_of(ours, peers, left_out, case, phase, versions[0])


def print_table(rows):
    # What was left out stands in the JSON, and was said already.
    variants = [row["variant"].partition("; left out: ")[0] for row in rows]
    width = max(map(len, variants))
    print(f"{'case':10}{'phase':7}{'variant':{width + 2}}{'ours':>12}{'peer':>12}{'ratio':>8}{'spread':>8}")
    for row, variant in zip(rows, variants, strict=True):
        print(
            f"{row['case']:10}{row['phase']:7}{variant:{width + 2}}{row['ours_s'] * 1e6:9.1f} us"
            f"{row['peer_s'] * 1e6:9.1f} us{row['ratio']:8.2f}{row['spread']:8.1%}"
        )


def positive(kind):
    def parse(text):
        value = kind(text)
        if not value > 0:
            raise argparse.ArgumentTypeError(f"expected a positive number, got {text}")
        return value

    return parse


def choice_list(known):
    def parse(text):
        chosen = list(dict.fromkeys(text.split(",")))
        unknown = [word for word in chosen if word not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"expected some of {', '.join(known)}, got {', '.join(unknown)}")
        return chosen

    return parse


def thread_list(text):
    return list(dict.fromkeys(positive(int)(word) for word in text.split(",")))


def parse_arguments(arguments=None):
    parser = argparse.ArgumentParser(description="Measure lockstep and PyTorch side by side on the CPU.")
    for name, known, what in (
        ("cases", BATCHES, "networks"),
        ("phases", PHASES, "phases"),
        ("modes", MODE_NAMES, "of PyTorch; freeze: for inference, the weights are constants of the compiled code"),
        ("layouts", LAYOUT_NAMES, "of PyTorch's pictures and filters"),
    ):
        parser.add_argument(
            f"--{name}", type=choice_list(known), default=list(known), help=f"{what} ({','.join(known)})"
        )
    parser.add_argument(
        "--threads", type=thread_list, default=list(range(1, core_count() + 1)), help="of PyTorch (1 to all cores)"
    )
    parser.add_argument("--rounds", type=positive(int), default=7, help="measurements of each contestant (7)")
    parser.add_argument("--seconds", type=positive(float), default=0.5, help="length of one measurement (0.5)")
    parser.add_argument(
        "--smoke", action="store_true", help="one round of single steps: shows that all works, and measures nothing"
    )
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/release/bin/step_time", help="our program")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build/compare/compare.json", help="result")
    options = parser.parse_args(arguments)
    if options.modes == ["freeze"] and "train" in options.phases:
        parser.error("expected --phases infer with --modes freeze alone, which is for inference only")
    if options.smoke:
        options.rounds, options.seconds = 1, 1e-6
    return options


def run(options):
    if not os.access(options.bin, os.X_OK) or options.bin.is_dir():
        raise CompareError(
            f"expected the program step_time at {options.bin}, found none; build the release preset or name it by --bin"
        )
    options.bin = options.bin.resolve()
    options.out = options.out.resolve()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    rows = []
    with options.out.with_suffix(".log").open("w", encoding="utf-8") as log:
        check_parameters(log, options)
        for case in options.cases:
            for added in compare_case(case, log, options):
                rows += added
                # After each phase, so that a run that is cut off leaves what it has measured.
                options.out.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    print_table(rows)
    print(f"written: {options.out}{' (a smoke run: the times mean nothing)' if options.smoke else ''}")


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
