# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Measures lockstep and other libraries side by side on this machine's CPU and writes build/compare/compare.json.

    python compare.py [--cases lenet,vgg8] [--phases train] [--peers pytorch] [--modes eager,compile]
                      [--layouts contiguous] [--precision fp32] [--threads 1,2] [--rounds 7] [--seconds 0.5] [--smoke]
                      [--bin PROGRAM] [--out FILE]

All sides hold the same networks, whose numbers of parameters are compared first, and do the same steps; see
torch_reference.py, onnx_reference.py and dlib_reference.cpp. Each round measures everything once, in turn, so that a
machine that slows down slows all sides; every second round goes in reverse order. A measurement is the median step of
its time slice.

pytorch      training steps and forward passes of whole batches, beside step_time: contiguous pictures and channels
             last, eager and compiled, in float32 and in bfloat16 (under torch.autocast; in inference also a model that
             was converted), at every number of threads from 1 to the cores. Ours is float32; where PyTorch is measured
             in bfloat16, ours is too, by step_time_bf16, if the processor has AVX512_BF16. The cases of tokens, gpt and
             lstm, train by AdamW on both sides, the others by SGD; ours in bfloat16 has them not. In the phase generate
             they write one text token by token, always the most likely one, beside generate_time, which calls
             ls::generator.
onnxruntime  predictions of one sample in one thread, beside predict_time, which calls ls::inference: dense16, dense64,
             mlp8 and lenet, phase infer. The call comes from Python, with bound input and output.
dlib         training steps of cnn, mlp and lenet, beside step_time, at every number of the BLAS's threads.

A peer that is not installed is left out with a note, but for PyTorch, which the others need too: for the numbers of
parameters, and for the networks that ONNX Runtime loads. --bin names step_time; step_time_bf16, predict_time,
generate_time, and dlib_reference where CMake found dlib, lie beside it. --smoke runs everything once, with batches of
4 samples, PyTorch eager in one thread unless --modes and --threads say otherwise.

The JSON is an array of {"case", "phase", "peer", "peer_version", "precision", "ours_precision", "variant", "ours_s",
"peer_s", "ratio", "spread"}: medians over the rounds in seconds a step, in the phase generate a token, ratio =
peer_s / ours_s (above 1: lockstep is faster), spread = (p75 - p25) / median of the ratios of single rounds. "precision"
is the peer's, fp32 or bf16, and "ours_precision" ours: beside a peer in bf16 ours is in fp32 too. Rows of training also
have "optimizer", sgd or adamw, which is that of both sides. Rows of ONNX Runtime also have "peer_call_s", the time that
it takes to call an empty network: that much of peer_s is the call.

There is a row for each way to run a peer and each number of our replicas. The rows of a case, phase and peer come in
the order of peer_s, then ours_s, those of bf16 behind those of fp32, and the variants of the peer's fastest way in fp32
begin with "best: ", so that the first row compares the best of both sides in float32. Where PyTorch cannot run in some
way, as torch.compile without a C++ compiler, these variants end with what was left out and why.
"""

import argparse
import contextlib
import dataclasses
import importlib.util
import json
import os
import pathlib
import select
import statistics
import subprocess
import sys
from collections.abc import Callable

ROOT = pathlib.Path(__file__).resolve().parent.parent
TORCH_REFERENCE = pathlib.Path(__file__).resolve().with_name("torch_reference.py")
ONNX_REFERENCE = TORCH_REFERENCE.with_name("onnx_reference.py")
BATCHES = {"cnn": 64, "linear": 100, "mlp": 64, "lenet": 128, "vgg8": 64, "resnet20": 128, "gpt": 16, "lstm": 64}
SMOKE_BATCH = 4
TOKEN_CASES = ("gpt", "lstm")
CASES_WITHOUT_PICTURES = ("linear", "mlp", *TOKEN_CASES)
PREDICTED_CASES = ("dense16", "dense64", "mlp8", "lenet")  # one sample at a time
DLIB_CASES = ("cnn", "mlp", "lenet")
OWN_BF16_CASES = set(BATCHES) - set(TOKEN_CASES)
CASES = tuple(dict.fromkeys((*BATCHES, *PREDICTED_CASES)))
REPLICAS = (4, 2, 1)
PHASES = ("train", "infer", "generate")
PEERS = ("pytorch", "onnxruntime", "dlib")
PRECISIONS = ("fp32", "bf16")
MODE_NAMES = {"eager": "eager", "compile": "torch.compile", "freeze": "torch.compile with frozen weights"}
LAYOUT_NAMES = {"contiguous": "contiguous", "channels_last": "channels last"}
# What torch_reference.py calls precisions.
TORCH_PRECISION_NAMES = {"fp32": "", "autocast": ", bfloat16 under autocast", "bf16": ", model converted to bfloat16"}
OWN_PRECISION_NAMES = {"fp32": "float32", "bf16": "bfloat16"}
ANSWER_LIMIT_S = 600  # beyond a slice: the time a first call may take to compile


def optimizer_of(case):
    return "adamw" if case in TOKEN_CASES else "sgd"


def batch_of(case, options):
    return min(BATCHES[case], SMOKE_BATCH) if options.smoke else BATCHES[case]


class CompareError(Exception):
    """Ends the program with its text on stderr."""


@dataclasses.dataclass(eq=False)
class Way:
    """One way to run a side."""

    text: str
    measure: Callable[[float], float]  # from the length of a measurement to the median time of a step
    precision: str = "fp32"


@dataclasses.dataclass
class Peer:
    name: str
    version: str
    ways: list[Way]
    note: str = ""  # what was left out and why
    call: Way | None = None  # a call that does nothing


class Worker:
    """A living process that measures a peer on request, in lines of JSON."""

    def __init__(self, name, command, log, environment=None):
        self.name = name
        self.log = log
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
        """Waits until the peer is imported; returns its version."""
        answer = self.receive(ANSWER_LIMIT_S)
        if "error" in answer:
            raise CompareError(f"{self.name}: {answer['error']}")
        return answer["version"]

    def send(self, message):
        """Returns the answer to a request for a measurement of message["seconds"]."""
        try:
            self.process.stdin.write((json.dumps(message) + "\n").encode())
            self.process.stdin.flush()
        except BrokenPipeError:
            raise CompareError(f"{self.name} has ended; see {self.log.name}") from None
        return self.receive(ANSWER_LIMIT_S + message["seconds"])

    def close(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class TorchWorker(Worker):
    """A living torch_reference.py for one case and one thread count."""

    def __init__(self, case, threads, log, options):
        command = [sys.executable, str(TORCH_REFERENCE)]
        command += ["--case", case, "--batch", str(batch_of(case, options)), "--threads", str(threads)]
        command += ["--optimizer", optimizer_of(case)]
        environment = os.environ | {
            "OMP_NUM_THREADS": str(threads),
            "TORCHINDUCTOR_COMPILE_THREADS": "1",
            "TORCHINDUCTOR_CACHE_DIR": str(pathlib.Path(log.name).with_name("inductor")),
        }
        super().__init__(f"PyTorch ({case}, threads: {threads})", command, log, environment)

    def request(self, mode, phase, seconds):
        return self.send({"mode": mode, "phase": phase, "seconds": seconds})

    def measure(self, mode, phase, seconds):
        answer = self.request(mode, phase, seconds)
        if "error" in answer:
            raise CompareError(f"{self.name}, {mode}, {phase}: {answer['error']}")
        return answer["median_s"]


class OnnxWorker(Worker):
    """A living onnx_reference.py for one case."""

    def __init__(self, case, log):
        super().__init__(f"ONNX Runtime ({case})", [sys.executable, str(ONNX_REFERENCE), "--case", case], log)

    def measure(self, network, seconds):
        return self.send({"network": network, "seconds": seconds})["median_s"]


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


def ask_program(program, limit, environment=None, **asked):
    """The answer of a program that is run like step_time, which repeats what was asked."""
    command = [str(program)]
    for name, value in asked.items():
        command += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    answer = ask(command, limit, stderr=subprocess.PIPE, env=environment)
    repeated = {name: asked[name] for name in ("case", "phase", "replicas", "batch") if name in asked}
    if {name: answer.get(name) for name in repeated} != repeated:
        raise CompareError(f"{' '.join(command)}: expected what was asked, got {answer}")
    return answer


def measure_program(program, seconds, environment=None, **asked):
    """Such a program's answer to the question for a time."""
    answer = ask_program(program, ANSWER_LIMIT_S + seconds, environment, seconds=seconds, **asked)
    if not answer.get("median_s", 0) > 0:
        raise CompareError(f"{program}: expected a positive median_s, got {answer}")
    return answer


def programs_of(case, options):
    """The programs that hold this case's network and will be asked for times."""
    programs = []
    if case in BATCHES and {"pytorch", "dlib"} & set(options.peers):
        programs.append(options.bin)
    if case in options.generated_cases:
        programs.append(options.generate_time)
    if case in PREDICTED_CASES and "onnxruntime" in options.peers:
        programs.append(options.predict_time)
    if case in DLIB_CASES and "dlib" in options.peers:
        programs.append(options.dlib_reference)
    return programs


def check_parameters(log, options):
    """All sides must have the same networks; sees that their numbers of parameters are equal."""
    command = [sys.executable, str(TORCH_REFERENCE), "--count", ",".join(options.cases)]
    answer = ask(command, ANSWER_LIMIT_S, stderr=log)
    if "error" in answer:
        raise CompareError(answer["error"])
    for case in options.cases:
        for program in programs_of(case, options):
            count = ask_program(program, ANSWER_LIMIT_S, case=case, parameters=True).get("parameters")
            expected = answer["parameters"][case]
            if count != expected:
                raise CompareError(
                    f"{case}: expected the same network on all sides, got {count} parameters in {program} and "
                    f"{expected} in {TORCH_REFERENCE}; build {program.name} anew or mend the one that is wrong"
                )


def core_count():
    """Of the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def quartile_spread(values):
    if len(values) < 2:
        return 0.0
    lower, middle, upper = statistics.quantiles(values, n=4, method="inclusive")
    return (upper - lower) / middle


def counted(number, noun):
    return f"{number} {noun}{'s' if number > 1 else ''}"


def torch_ways(case, phase, options):
    """The (mode, layout, precision) in which PyTorch may do it."""
    modes = [mode for mode in options.modes if phase != "train" or mode != "freeze"]
    layouts = ["contiguous"] if case in CASES_WITHOUT_PICTURES else options.layouts
    precisions = ["fp32"] * ("fp32" in options.precision)
    if "bf16" in options.precision:
        precisions += ["autocast"] if phase == "train" else ["autocast", "bf16"]
    return [(mode, layout, precision) for precision in precisions for mode in modes for layout in layouts]


def way_text(mode, layout, precision, threads):
    name = f"{MODE_NAMES[mode]}, {LAYOUT_NAMES[layout]}{TORCH_PRECISION_NAMES[precision]}"
    return f"{name}, {counted(threads, 'thread')}"


def warm_up(workers, ways, phase):
    """Has every worker do a few steps in every way; eager must work in fp32. Returns the (mode, layout, precision,
    threads) that work, and for the others {what: reason}."""
    working, failures = [], {}
    for way in ways:
        for threads, worker in workers.items():
            answer = worker.request(way, phase, 0)
            if "error" not in answer:
                working.append((*way, threads))
            elif way[0] == "eager" and way[2] == "fp32":
                raise CompareError(f"{worker.name}, {phase}: {answer['error']}")
            else:
                failures[(*way, threads)] = answer["error"]
    if not working:
        reason = next(iter(failures.values()))
        raise CompareError(f"none of the modes that were asked for works in {phase}: {reason}")
    left_out = {}
    for way, reason in failures.items():
        works_elsewhere = any(mode == way[0] for mode, *_ in working)
        left_out.setdefault(way_text(*way) if works_elsewhere else MODE_NAMES[way[0]], reason)
    for way, reason in left_out.items():
        print(f"note: PyTorch's {way} is left out in {phase}: {reason}", file=sys.stderr)
    return working, left_out


def torch_peer(workers, version, case, phase, options):
    working, left_out = warm_up(workers, torch_ways(case, phase, options), phase)
    ways = []
    for *way, threads in working:
        ways.append(
            Way(
                way_text(*way, threads),
                lambda seconds, way=way, threads=threads: workers[threads].measure(way, phase, seconds),
                "fp32" if way[2] == "fp32" else "bf16",
            )
        )
    return Peer("pytorch", version, ways, "".join(f"; left out: {way} ({why})" for way, why in left_out.items()))


def blas_threads(threads):
    """An environment in which whichever BLAS it is has so many threads."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS")
    return os.environ | {name: str(threads) for name in names}


def dlib_peer(case, options):
    def answer(threads, seconds):
        environment = blas_threads(threads)
        return measure_program(options.dlib_reference, seconds, environment, case=case, batch=batch_of(case, options))

    first = {threads: answer(threads, options.seconds) for threads in options.threads}
    ways = [
        Way(
            f"BLAS {'/'.join(pathlib.Path(seen['blas']).parts[-2:])}, {counted(threads, 'thread')}",
            lambda seconds, threads=threads: answer(threads, seconds)["median_s"],
        )
        for threads, seen in first.items()
    ]
    return Peer("dlib", first[options.threads[0]]["version"], ways)


def onnx_peer(worker, version):
    text = "batch 1, 1 thread, bound input and output, peer_s includes the call from Python (peer_call_s)"
    model, identity = (
        Way(text, lambda seconds, network=network: worker.measure(network, seconds))
        for network in ("model", "identity")
    )
    return Peer("onnxruntime", version, [model], call=identity)


def trainer_ways(case, phase, options):
    """Ours with whole batches."""

    def way(precision, program, replicas):
        asked = {"case": case, "phase": phase, "replicas": replicas, "batch": batch_of(case, options)}

        def measure(seconds):
            answer = measure_program(program, seconds, **asked)
            if answer.get("optimizer") != optimizer_of(case):
                raise CompareError(f"{program}: expected {optimizer_of(case)} as the optimizer, got {answer}")
            return answer["median_s"]

        return Way(counted(replicas, "replica"), measure, precision)

    programs = {"fp32": options.bin}
    if options.bf16_program and case in OWN_BF16_CASES:
        programs["bf16"] = options.bf16_program
    replicas = [n for n in REPLICAS if n <= core_count()]
    return [way(precision, program, n) for precision, program in programs.items() for n in replicas]


def inference_way(case, options):
    """Ours with one sample."""
    return Way(
        "ls::inference",
        lambda seconds: measure_program(options.predict_time, seconds, case=case)["median_s"],
    )


def generator_way(case, options):
    """Ours with one text."""
    return Way(
        "ls::generator",
        lambda seconds: measure_program(options.generate_time, seconds, case=case)["median_s"],
    )


def run_rounds(ours, peers, options):
    """Returns {way: [...]}: a time a round each."""
    ways = [*ours, *(way for peer in peers for way in (*peer.ways, *filter(None, [peer.call])))]
    times = {way: [] for way in ways}
    for way in ours:
        way.measure(options.seconds)
    for index in range(options.rounds):
        for way in ways[:: -1 if index % 2 else 1]:
            times[way].append(way.measure(options.seconds))
    return times


def row_of(case, phase, peer, way, own, times):
    own_text = own.text if way.precision == "fp32" else f"{OWN_PRECISION_NAMES[own.precision]}, {own.text}"
    ours_s, peer_s = statistics.median(times[own]), statistics.median(times[way])
    row = {
        "case": case,
        "phase": phase,
        "peer": peer.name,
        "peer_version": peer.version,
        "precision": way.precision,
        "ours_precision": own.precision,
        "variant": f"{way.text}; ours {own_text}",
        "ours_s": ours_s,
        "peer_s": peer_s,
        "ratio": peer_s / ours_s,
        "spread": quartile_spread([p / o for p, o in zip(times[way], times[own], strict=True)]),
    }
    if phase == "train":
        row["optimizer"] = optimizer_of(case)
    if peer.call:
        row["peer_call_s"] = statistics.median(times[peer.call])
    return row


def rows_of(case, phase, ours, peer, times):
    """The rows of a case, phase and peer, those of its fastest way in fp32 first."""
    in_fp32 = [way for way in peer.ways if way.precision == "fp32"]
    best = min(in_fp32, key=lambda way: statistics.median(times[way]), default=None)
    rows = []
    for way in peer.ways:
        # In float32 nobody would take our bfloat16 for the same.
        for own in ours if way.precision == "bf16" else [own for own in ours if own.precision == "fp32"]:
            row = row_of(case, phase, peer, way, own, times)
            if way is best:
                row["variant"] = f"best: {row['variant']}{peer.note}"
            rows.append(((way is not best, way.precision != "fp32", row["peer_s"], row["ours_s"]), row))
    return [row for _, row in sorted(rows, key=lambda pair: pair[0])]


def compare_batches(case, phase, workers, version, options):
    """The rows of whole batches."""
    peers = [torch_peer(workers, version, case, phase, options)] if workers else []
    if "dlib" in options.peers and phase == "train" and case in DLIB_CASES:
        peers.append(dlib_peer(case, options))
    if not peers:
        return []
    ours = trainer_ways(case, phase, options)
    times = run_rounds(ours, peers, options)
    return [row for peer in peers for row in rows_of(case, phase, ours, peer, times)]


def compare_texts(case, workers, version, options):
    """The rows of texts that are written token by token."""
    peer = torch_peer(workers, version, case, "generate", options)
    ours = [generator_way(case, options)]
    return rows_of(case, "generate", ours, peer, run_rounds(ours, [peer], options))


def compare_predictions(case, log, options):
    """The rows of predictions of one sample."""
    with contextlib.closing(OnnxWorker(case, log)) as worker:
        peer = onnx_peer(worker, worker.greet())
        ours = [inference_way(case, options)]
        times = run_rounds(ours, [peer], options)
    return rows_of(case, "infer", ours, peer, times)


def compare_case(case, log, options):
    """Yields the rows of each phase."""
    with contextlib.ExitStack() as stack:
        workers = {}
        if "pytorch" in options.peers and case in BATCHES:
            for threads in options.threads:
                workers[threads] = TorchWorker(case, threads, log, options)
                stack.callback(workers[threads].close)
        versions = [worker.greet() for worker in workers.values()]
        for phase in options.phases:
            version = versions[0] if versions else ""
            if phase == "generate":
                rows = compare_texts(case, workers, version, options) if case in options.generated_cases else []
            else:
                rows = compare_batches(case, phase, workers, version, options)
            if "onnxruntime" in options.peers and phase == "infer" and case in PREDICTED_CASES:
                rows += compare_predictions(case, log, options)
            if rows:
                print(f"{case} {phase}: measured", file=sys.stderr)
                yield rows


def time_text(seconds):
    for unit, size in (("s", 1), ("ms", 1e-3), ("us", 1e-6)):
        if seconds >= size:
            return f"{seconds / size:.4g} {unit}"
    return f"{seconds * 1e9:.4g} ns"


def print_table(rows):
    # What was left out stands in the JSON, and was said already.
    variants = [row["variant"].partition("; left out: ")[0] for row in rows]
    width = max(map(len, variants))
    print(f"{'case':10}{'phase':10}{'peer':13}{'variant':{width}}{'ours':>11}{'peer':>11}{'ratio':>9}{'spread':>8}")
    for row, variant in zip(rows, variants, strict=True):
        print(
            f"{row['case']:10}{row['phase']:10}{row['peer']:13}{variant:{width}}{time_text(row['ours_s']):>11}"
            f"{time_text(row['peer_s']):>11}{row['ratio']:9.2f}{row['spread']:8.1%}"
        )
    trained = {}
    for row in rows:
        if "optimizer" in row:
            trained.setdefault(row["optimizer"], {})[row["case"]] = None
    if trained:
        names = (f"{optimizer} ({', '.join(cases)})" for optimizer, cases in trained.items())
        print(f"trained on both sides by {', '.join(names)}")


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
    parser = argparse.ArgumentParser(description="Measure lockstep and other libraries side by side on the CPU.")
    for name, known, what in (
        ("cases", CASES, "networks"),
        ("phases", PHASES, "phases"),
        ("peers", PEERS, "other libraries"),
        ("layouts", LAYOUT_NAMES, "of PyTorch's pictures and filters"),
        ("precision", PRECISIONS, "of PyTorch"),
    ):
        parser.add_argument(
            f"--{name}", type=choice_list(known), default=list(known), help=f"{what} ({','.join(known)})"
        )
    parser.add_argument(
        "--modes",
        type=choice_list(MODE_NAMES),
        help="of PyTorch; freeze: not for training, the weights are constants of the compiled code "
        f"({','.join(MODE_NAMES)}; with --smoke eager)",
    )
    parser.add_argument(
        "--threads", type=thread_list, help="of PyTorch, and of dlib's BLAS (1 to all cores; with --smoke 1)"
    )
    parser.add_argument("--rounds", type=positive(int), default=7, help="measurements of each contestant (7)")
    parser.add_argument("--seconds", type=positive(float), default=0.5, help="length of one measurement (0.5)")
    parser.add_argument(
        "--smoke",
        action="store_true",
        help="one round of single steps of small batches: shows that all works, and measures nothing",
    )
    parser.add_argument("--bin", type=pathlib.Path, default=ROOT / "build/release/bin/step_time", help="step_time")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "build/compare/compare.json", help="result")
    options = parser.parse_args(arguments)
    options.modes = options.modes or (["eager"] if options.smoke else list(MODE_NAMES))
    options.threads = options.threads or ([1] if options.smoke else list(range(1, core_count() + 1)))
    if options.modes == ["freeze"] and "train" in options.phases:
        parser.error("expected --phases infer or generate with --modes freeze alone, which is not for training")
    if options.smoke:
        options.rounds, options.seconds = 1, 1e-6
    return options


def is_program(path):
    return os.access(path, os.X_OK) and not path.is_dir()


def find_programs(options):
    """Sees what there is of the peers and of our programs; leaves the peers that are missing out."""
    options.bin = options.bin.resolve()
    options.predict_time = options.bin.with_name("predict_time")
    options.dlib_reference = options.bin.with_name("dlib_reference")
    options.generate_time = options.bin.with_name("generate_time")
    options.generated_cases = cases_to_generate(options)
    if "dlib" in options.peers and not is_program(options.dlib_reference):
        print(f"note: dlib is left out: there is no {options.dlib_reference}", file=sys.stderr)
        options.peers.remove("dlib")
    missing = [name for name in ("onnx", "onnxruntime") if importlib.util.find_spec(name) is None]
    if "onnxruntime" in options.peers and missing:
        print(f"note: {sys.executable} lacks {' and '.join(missing)}: onnxruntime is left out", file=sys.stderr)
        options.peers.remove("onnxruntime")
    for program in dict.fromkeys(program for case in options.cases for program in programs_of(case, options)):
        if not is_program(program):
            raise CompareError(
                f"expected the program {program.name} at {program}, found none; build the release preset or name "
                "step_time by --bin"
            )


def cases_to_generate(options):
    """Those whose layers ours can run row by row, if they were asked for: generate_time has the others not."""
    if "generate" not in options.phases or "pytorch" not in options.peers:
        return []
    asked = [case for case in options.cases if case in TOKEN_CASES]
    if not asked or not is_program(options.generate_time):
        return asked  # find_programs says what is missing
    known = ask([str(options.generate_time), "--list"], ANSWER_LIMIT_S, stderr=subprocess.PIPE)["cases"]
    for case in asked:
        if case not in known:
            print(f"note: {case} is left out in generate: ls::generator does not run its layers", file=sys.stderr)
    return [case for case in asked if case in known]


def find_bf16_program(options):
    """Sees whether ours can be measured in bfloat16, where PyTorch is: by which program, or by none."""
    options.bf16_program = None
    if "bf16" not in options.precision or "pytorch" not in options.peers or not set(options.cases) & OWN_BF16_CASES:
        return
    program = options.bin.with_name("step_time_bf16")
    try:
        if not is_program(program):
            raise CompareError(f"there is no {program}")
        ask_program(program, ANSWER_LIMIT_S, case="linear", phase="infer", replicas=1, batch=1, seconds=1e-6)
        options.bf16_program = program
    except CompareError as error:
        print(f"note: ours in bfloat16 is left out: {error}", file=sys.stderr)


def run(options):
    find_programs(options)
    find_bf16_program(options)
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
    if not rows:
        raise CompareError("nothing to measure: none of the peers does these cases and phases")
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
