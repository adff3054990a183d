"""What the operator keeps in memory costs what it is, and no multiple of it."""

import subprocess
import sys

OBJECTS = 6_000
PROGRAM = f"""
from pathlib import Path
from assistant_operator.cluster.cache import Cache

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

cache = Cache()
variables = [{{"name": f"NAME_{{n}}", "value": "v" * 20}} for n in range(40)]
spec = {{"template": {{"spec": {{"containers": [{{"name": "runtime", "env": variables}}]}}}}}}
before = resident()
for number in range({OBJECTS}):
    metadata = {{"namespace": "default", "name": f"object-{{number}}", "uid": "u", "resourceVersion": "1"}}
    cache.put("Deployment", {{"metadata": metadata, "spec": spec}})
kept = sum(len(entry.body) for entry in cache._entries.values())
print(resident() - before, kept)
"""


def test_a_cached_object_costs_about_its_own_size() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    resident, kept = map(int, done.stdout.split())
    assert kept > OBJECTS * 1000, "the objects are in the cache"
    assert resident < 2 * kept + OBJECTS * 1000, "bytes, and a few hundred an entry for its reference and index"
