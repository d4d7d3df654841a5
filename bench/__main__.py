"""`python -m bench [NAME …]`: run the measurements, each in a process and a data directory of its own."""

import subprocess
import sys

STANDARD = ("latency", "fold", "http", "imports", "rescore", "bulk", "routing")
ON_REQUEST = ("fairness", "first_run")  # a table that is alike each time; installs from the network


def main() -> int:
    """Run what is named, or all that needs no network; return 1 if one of them broke."""
    wanted = sys.argv[1:] or list(STANDARD)
    unknown = [name for name in wanted if name not in STANDARD + ON_REQUEST]
    if unknown:
        print(f"unknown: {', '.join(unknown)}; there are {', '.join(STANDARD + ON_REQUEST)}")
        return 2
    return max(subprocess.run([sys.executable, "-m", f"bench.{name}"], check=False).returncode for name in wanted)


if __name__ == "__main__":
    sys.exit(main())
