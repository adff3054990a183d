"""`make bench-operator`: the operator against a bare client that applies the same objects, side by side in one run.

What is measured, on a control plane alone (devcluster, no nodes), with suspended AIAssistants of defaults:

- The time until every object of all of them is there, for 100, 1,000 and 3,000, against a bare client that server-side
  applies the same objects with the same concurrency. The two take turns, each on a cluster of its own.
- With the most of them: memory, one created alone, one changed field, a foreign edit and deletion, the requests of
  a restart and of an idle resync, and memory beside 5,000 objects of others of each of three kinds.

Then with real pods, which needs root (tests/bench/pods.py): the time from apply to Ready with every server on, and
the requests that it takes.

Times and counts are read from the API server's audit log, so they are what the server saw, not what a client believes.
"""

from tests.bench import fleet, pods, report

PARTS = ("fleet", "pods")


def main() -> None:
    """Run everything, print it, and write it into docs/benchmarks.md."""
    parser = report.parser(__doc__)
    count = report.at_least(1)
    sizes = [100, 1000, 3000]
    parser.add_argument("--assistants", type=count, nargs="+", default=sizes, help="numbers of AIAssistants, growing")
    parser.add_argument("--strangers", type=count, default=5000, help="foreign objects of each kind (default 5000)")
    parser.add_argument("--rounds", type=count, default=3, help="turns of each contender (default 3)")
    parser.add_argument("--part", choices=PARTS, help="only this part: fleet (no pods run) or pods (default: both)")
    options = report.parse(parser)
    write = not options.no_write
    if options.part in (None, "fleet"):
        found = fleet.measure(sorted(options.assistants), options.rounds, options.strangers, write=write)
        report.publish("operator", found, write=write)
    if options.part in (None, "pods"):
        report.publish("operator-pods", pods.measure(options.rounds), write=write)


if __name__ == "__main__":
    main()
