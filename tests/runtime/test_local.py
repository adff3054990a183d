"""`serve --local`: everything on one machine, with a real small model, and no server or key."""

import json
import os
import signal
import urllib.request
from collections import Counter
from pathlib import Path
from typing import Any

from tests.support.runtime import RuntimeProcess, eventually, run_process

QUESTION = {"messages": [{"role": "user", "content": "What is the capital of France?"}], "max_tokens": 48}


def post(runtime: RuntimeProcess, path: str, body: Any) -> Any:
    request = urllib.request.Request(
        f"{runtime.url}{path}", json.dumps(body).encode(), headers={"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=200) as answer:
        return json.load(answer)


def model_process(runtime: RuntimeProcess) -> int:
    """The process of the model, below the runtime's."""
    pid = runtime.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return next((int(each) for each in children if b"local_model" in Path(f"/proc/{each}/cmdline").read_bytes()), 0)


async def test_an_assistant_without_any_server_answers_and_finds_documents(tmp_path: Path) -> None:
    variables = {"XDG_DATA_HOME": str(tmp_path / "share"), "RATE_LIMIT_ENABLED": "false"}
    with run_process(tmp_path / "log", "--local", **variables) as runtime:
        runtime.wait_for("/ready", 200)
        answer = post(runtime, "/v1/chat/completions", QUESTION)
        words = answer["choices"][0]["message"]["content"].split()
        phrases = Counter(zip(words, words[1:], words[2:], strict=False))
        assert phrases, words
        assert max(phrases.values()) < 3, f"it goes round in circles: {words}"

        text = post(runtime, "/v1/completions", {"prompt": "The capital of France is", "max_tokens": 4})
        assert "Paris" in text["choices"][0]["text"]
        assert text["object"] == "text_completion"

        post(runtime, "/v1/documents", {"name": "leave", "text": "Parents may take twelve weeks of paid leave."})
        post(runtime, "/v1/documents", {"name": "trains", "text": "Trains are booked by the travel desk."})
        found = post(runtime, "/v1/search", {"query": "How long may a mother stay at home?", "limit": 1})
        assert [each["document"]["name"] for each in found["data"]] == ["leave"]
        assert list((tmp_path / "share" / "assistant-runtime").iterdir())
        assert f"curl -s {runtime.url}/v1/chat/completions" in runtime.output
        assert "Traceback" not in runtime.output

        first = model_process(runtime)
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: model_process(runtime) not in {0, first})
        again = await eventually(lambda: answered(runtime))
        assert again["choices"][0]["message"]["content"].strip()
        model = model_process(runtime)
        runtime.process.kill()
        runtime.process.wait()
        await eventually(
            lambda: not Path(f"/proc/{model}/cmdline").exists() or not Path(f"/proc/{model}/cmdline").read_bytes()
        )


def answered(runtime: RuntimeProcess) -> Any:
    try:
        return post(runtime, "/v1/chat/completions", QUESTION | {"max_tokens": 4})
    except OSError:
        return None
