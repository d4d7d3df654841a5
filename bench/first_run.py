"""`make demo` from a clean clone, and its second start. Installs from the network: run it by name."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.tree import REPOSITORY, free_port, say, wait_for


def main() -> None:
    """Clone, start twice, and print how long it took until the address was printed."""
    with tempfile.TemporaryDirectory(prefix="pql-first-run-") as place:
        clone = Path(place) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(REPOSITORY), str(clone)], check=True)
        dropped = {"DATABASE_URL", "REDIS_URL", "SECRET_KEY", "DATA_DIR", "VIRTUAL_ENV"}
        environment = {key: value for key, value in os.environ.items() if key not in dropped}
        environment |= {"PORT": str(free_port()), "PYTHON": sys.executable}
        first, second = (start(clone, environment) for _ in range(2))
    say("make demo from a clean clone", f"{first:.0f} s", "180 s", holds=first <= 180)
    say("make demo, second start", f"{second:.1f} s", "10 s", holds=second <= 10)


def start(clone: Path, environment: dict[str, str]) -> float:
    """Run `make demo` until it says that it runs, stop it, and return the seconds that this took."""
    began = time.perf_counter()
    with tempfile.NamedTemporaryFile("r+", suffix=".log") as log:
        process = subprocess.Popen(
            ["make", "demo"], cwd=clone, env=environment, stdout=log, stderr=log, start_new_session=True
        )
        wait_for(lambda: "PQL runs at" in Path(log.name).read_text(), process, log.name)
        took = time.perf_counter() - began
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)
    return took


if __name__ == "__main__":
    main()
