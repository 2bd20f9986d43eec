"""``python -m cukernels``: versions, devices, and a check of every op on this machine."""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import sys
from collections import defaultdict

from cukernels.runtime.self_check import Check, self_check
from cukernels.runtime.show_versions import cuda_devices, show_versions


def main() -> int:
    """Print the report, check the ops, and return 1 if one of them is wrong, else 0."""
    parser = argparse.ArgumentParser(
        prog="python -m cukernels", description=f"Prints {(__doc__ or '').split(': ', 1)[1]}"
    )
    parser.add_argument("--no-check", action="store_true", help="print versions and devices alone")
    options = parser.parse_args()
    show_versions()
    return 0 if options.no_check else check()


def check() -> int:
    """Check every body of every op, print the results, and return 1 if one of them is wrong."""
    devices = cuda_devices()
    places = ["cpu", *devices]
    print("\nSelf-check: every body against the definition of its op, on", ", ".join(places))
    by_body: dict[str, list[Check]] = defaultdict(list)
    for result in self_check(devices):
        by_body[result.body].append(result)
        if not result.passed:
            print(f"  {result.op}, {result.body}: {result.failure}")
    wrong = 0
    for body, results in by_body.items():
        failed = sum(not result.passed for result in results)
        calls = sum(result.calls for result in results)
        worst = max(results, key=lambda result: result.error)
        print(
            f"  {body}: {len(results) - failed} of {len(results)} ops right, in {calls} calls; the "
            f"largest error is {worst.error:.2f} of what rounding explains ({worst.op})"
        )
        wrong += failed
    print(f"  {wrong} wrong: please report it with all of the above" if wrong else "  all is well")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
