"""`make bench-operator`: the operator against a bare client that applies the same objects, side by side in one run.

What is measured, on a control plane alone (devcluster, no nodes):

- 200 AIAssistants of defaults, suspended, created by 8 concurrent requests: the time until every object of every
  assistant is there, against a bare client that server-side applies the same objects with the same concurrency. The
  two take turns.
- For each assistant the time from its creation to its last object, in that burst and one at a time.
- The operator's peak memory.
- The requests of an idle resync and of a restart.

Then with real pods, which needs root (tests/bench/pods.py): the time from apply to Ready with every server on, and
the requests that it takes.

Times and counts are read from the API server's audit log, so they are what the server saw, not what a client believes.
"""

from tests.bench import burst, pods, report

PARTS = ("burst", "pods")


def main() -> None:
    """Run everything, print it, and write it into docs/benchmarks.md."""
    parser = report.parser(__doc__)
    count = report.at_least(1)
    parser.add_argument("--assistants", type=count, default=200, help="AIAssistants in a burst (default 200)")
    parser.add_argument("--rounds", type=count, default=3, help="turns of each contender (default 3)")
    parser.add_argument("--part", choices=PARTS, help="only this part: burst (no pods run) or pods (default: both)")
    options = report.parse(parser)
    if options.part in (None, "burst"):
        report.publish("operator", burst.measure(options.assistants, options.rounds), write=not options.no_write)
    if options.part in (None, "pods"):
        report.publish("operator-pods", pods.measure(options.rounds), write=not options.no_write)


if __name__ == "__main__":
    main()
