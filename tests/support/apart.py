"""What keeps processes of tests apart that run at once: the workers of one run, or several runs."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def own_number(of: str, count: int) -> Iterator[int]:
    """Hold the lowest number, of the first `count`, that no other process of tests on this machine has.

    It is held by a name in the kernel, which goes with this process, however it ends. As the lowest is taken, the next
    run finds what one that was killed has left under it.
    """
    with socket.socket(socket.AF_UNIX) as holder:
        for number in range(count):
            try:
                holder.bind(f"\0assistant-tests-{of}-{number}")
            except OSError:
                continue
            yield number
            return
    raise RuntimeError(f"{count} processes of tests have all {of} between them: wait for one to end")
