"""Keeps a trial's command from outliving its manager; run as a program of its own.

The manager holds the other end of a pipe. When it dies, even by a kill, the pipe ends,
and this process kills its whole process group: no orphan goes on spending money.
"""

import _thread
import os
import signal
import sys


def main(lifeline: int, arguments: list[str]) -> int:
    """Run a command and end as it ends.

    Args:
        lifeline: The pipe's file descriptor.
        arguments: Program and arguments.
    """
    os.set_inheritable(lifeline, False)  # noqa: FBT003  # positional-only
    # Python ignores these; a program would inherit that.
    usual = (signal.SIGPIPE, signal.SIGXFSZ)
    try:
        pid = os.posix_spawnp(arguments[0], arguments, os.environ, setsigdef=usual)
    except OSError as error:
        sys.stderr.write(f"{arguments[0]}: {error.strerror}\n")
        return 127
    _thread.start_new_thread(_end_with_manager, (lifeline,))
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code  # as shells tell of signals


def _end_with_manager(lifeline: int) -> None:
    os.read(lifeline, 1)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), sys.argv[2:]))
