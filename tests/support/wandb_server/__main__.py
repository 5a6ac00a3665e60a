"""Starts the server for trying things by hand; prints what to export."""

import argparse
import sys
import threading

from tests.support.wandb_server.faults import late
from tests.support.wandb_server.server import WandbServer, wandb_server


def main() -> None:
    """Serve until interrupted, then say what was asked."""
    options = _options()
    with wandb_server(port=options.port) as server:
        if options.latency:
            server.faults.inject(late(options.latency))
        if options.storm:
            server.faults.storm(options.storm)
        server.switches.exported_share = options.exported_share
        _greet(server)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            _report(server)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.support.wandb_server", description=__doc__
    )
    add = parser.add_argument
    add("--port", type=int, default=8765, help="loopback port, 0 = any free one")
    add("--latency", type=float, default=0.0, help="seconds added to each answer")
    add("--storm", type=float, default=0.0, help="share of calls that fail, 0 to 1")
    add("--exported-share", type=float, default=1.0, help="share of rows in parquet")
    return parser.parse_args()


def _greet(server: WandbServer) -> None:
    lines = [f"export {name}={value}" for name, value in server.settings.items()]
    shown = [line for line in lines if "HOME=" not in line and "_DIR=" not in line]
    sys.stdout.write("\n".join(shown) + "\n")
    sys.stdout.flush()
    sys.stderr.write("serving until Ctrl-C; nothing is kept\n")


def _report(server: WandbServer) -> None:
    for operation, count in server.requests.counts.most_common():
        sys.stderr.write(f"{count:7d} {operation}\n")
    for name, count in server.requests.unknown.most_common():
        sys.stderr.write(f"{count:7d} unknown: {name}\n")


if __name__ == "__main__":
    main()
