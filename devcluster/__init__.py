"""A real Kubernetes on this machine, for the demo and the tests.

Tests against a simulated API server prove what the simulation does. This package starts the real programs (API
server, scheduler, kubelet, containers) from binaries that it builds itself, so that nothing has to be simulated.
Read `cluster` first: it tells how a cluster comes up and goes down.
"""
