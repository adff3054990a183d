"""Counters and histograms that cost a request a dictionary's look-up: a scrape makes Prometheus's metrics of them.

prometheus_client's own take a lock for each number and look at each bucket, which is a tenth of a request's CPU.
Several workers, which count in files that they share, use those all the same.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence

from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString

Labels = tuple[str, ...]


class Count:
    """A number of one label set."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self) -> None:
        """Count one more."""
        self.value += 1

    def dec(self) -> None:
        """Count one less."""
        self.value -= 1


class Tally:
    """The values of one label set, by bucket.

    Parameters
    ----------
    bounds
        Upper bounds of the buckets, in order; one bucket more takes what is above them.
    """

    __slots__ = ("_bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Take a value."""
        self.counts[bisect_left(self._bounds, value)] += 1
        self.total += value


class Counts(dict[Labels, Count]):
    """A counter's numbers by their labels."""

    def __missing__(self, labels: Labels) -> Count:
        found = self[labels] = Count()
        return found


class Tallies(dict[Labels, Tally]):
    """A histogram's tallies by their labels.

    Parameters
    ----------
    bounds
        Upper bounds of the buckets.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        super().__init__()
        self._bounds = bounds

    def __missing__(self, labels: Labels) -> Tally:
        found = self[labels] = Tally(self._bounds)
        return found


class _Counter(Collector):
    def __init__(self, counts: Counts, name: str, text: str, labels: Sequence[str]) -> None:
        self._counts = counts
        self._about = name, text, labels

    def collect(self) -> Iterator[Metric]:
        """Give the metric as it stands."""
        name, text, labels = self._about
        family = CounterMetricFamily(name, text, labels=labels)
        for values, count in list(self._counts.items()):
            family.add_metric(values, count.value)
        yield family


class _Histogram(Collector):
    def __init__(self, tallies: Tallies, name: str, text: str, labels: Sequence[str], bounds: Sequence[float]) -> None:
        self._tallies = tallies
        self._about = name, text, labels
        self._bounds = [*(floatToGoString(bound) for bound in bounds), "+Inf"]

    def collect(self) -> Iterator[Metric]:
        """Give the metric as it stands."""
        name, text, labels = self._about
        family = HistogramMetricFamily(name, text, labels=labels)
        for values, tally in list(self._tallies.items()):
            below, buckets = 0, []
            for bound, count in zip(self._bounds, tally.counts, strict=True):
                below += count
                buckets.append((bound, float(below)))
            family.add_metric(values, buckets, tally.total)
        yield family


def counter(registry: CollectorRegistry, name: str, text: str, labels: Sequence[str]) -> Counts:
    """Give a counter's numbers, which the registry tells."""
    counts = Counts()
    registry.register(_Counter(counts, name, text, labels))
    return counts


def histogram(
    registry: CollectorRegistry, name: str, text: str, labels: Sequence[str], bounds: Sequence[float]
) -> Tallies:
    """Give a histogram's tallies, which the registry tells."""
    tallies = Tallies(bounds)
    registry.register(_Histogram(tallies, name, text, labels, bounds))
    return tallies
