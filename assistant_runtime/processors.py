"""How many processors this process may use, and what they can."""

import os
import platform
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
CPUINFO = Path("/proc/cpuinfo")


def usable(cgroup: Path = CGROUP) -> int:
    """Count the processors that this process may use: those it is bound to, or fewer where its container is limited.

    More threads than the limit allows use up its share of each moment early, and everything in the process stands
    still for the rest.
    """
    bound, share = len(os.sched_getaffinity(0)), _share(cgroup)
    return bound if share is None else max(1, min(bound, int(share)))


def has_avx2(cpuinfo: Path = CPUINFO) -> bool:
    """Tell whether programs that are compiled for AVX2 run here: a processor without it ends them.

    Old and emulated x86 processors have none; of other kinds of processors nobody asks it.
    """
    if platform.machine() != "x86_64":
        return True
    try:
        return "avx2" in cpuinfo.read_text().split()
    except OSError:  # not Linux
        return True


def _share(cgroup: Path) -> float | None:
    """Return the processors that the container's limit is worth, None without one: cgroups of version 2, or of 1."""
    for files in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):
        try:
            quota, period = " ".join((cgroup / file).read_text() for file in files).split()
        except OSError:
            continue
        return None if quota in ("max", "-1") else int(quota) / int(period)
    return None
