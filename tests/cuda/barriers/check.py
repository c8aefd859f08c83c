# Part of lockstep. SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""check.py KERNELS.ptx: has sentryward (of PyPI) verify the barriers and the memory of kernels, for one launch each.

Exit code 4 where the package is absent.
"""

import json
import re
import sys
import tempfile

try:
    from sentryward import verify
except ImportError:
    print("skipped: the Python package sentryward is not there")
    sys.exit(4)

# Kernel, its first arguments (integers), what is to come out.
EXPECTED = [
    ("column_sums_kernel", [256, 32, 1], {"race_free"}),
    ("square_sums_kernel", [4096, 4096, 1, 1], {"race_free"}),
    ("piece_sums_kernel", [1, 300], {"race_free"}),
    ("add_sum_kernel", [300], {"race_free"}),
    # Planted.
    ("divergent_barrier", [None, 100], {"not_wellsynced"}),
    ("no_barrier", [], {"potential_race"}),
]


def result_of(ptx, entry, arguments):
    with tempfile.NamedTemporaryFile("w", suffix=".json") as given:
        json.dump(
            {
                "schema": "spverify.kernel-input/v1",
                "entry": entry,
                "launch": {
                    "grid_dim": [1, 1, 1],
                    "block_dim": [256, 1, 1],
                    "cluster_dim": [1, 1, 1],
                    "dynamic_shared_bytes": 0,
                },
                "arguments": [
                    {"parameter": place, "type": "u64", "value": value}
                    for place, value in enumerate(arguments)
                    if value is not None
                ],
            },
            given,
        )
        given.flush()
        return verify(ptx, input=given.name, timeout_seconds=60)["result"]


def main(ptx):
    with open(ptx, encoding="utf-8") as text:
        entries = re.findall(r"\.entry (\w+)\(", text.read())
    failed = False
    for kernel, arguments, expected in EXPECTED:
        (entry,) = [e for e in entries if kernel in e]
        result = result_of(ptx, entry, arguments)
        print(f"{kernel}: {result}")
        failed |= result not in expected
    return 1 if failed else 0


sys.exit(main(sys.argv[1]))
