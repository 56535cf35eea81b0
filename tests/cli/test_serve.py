"""`palmar serve`: as a process, from the words on the command line to the figures at the end."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from palmar.cli.main import main
from palmar.policy import load_policy
from palmar.runtime.supervision.handshake import KEY
from palmar.types import Observation


def test_it_serves_until_it_is_told_to_stop():
    words = [sys.executable, "-m", "palmar.cli", "serve", "shipped", "--port", "0", "--json"]
    environment = os.environ | {KEY: "abc", "COLUMNS": "200"}
    server = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        said = server.stderr.readline() + server.stderr.readline()
        address = next(word for word in said.split() if word.startswith("ws://"))
        assert f"with the key in {KEY}" in said and f"palmar run --policy {address}" in said
        os.environ[KEY] = "abc"
        remote, here = load_policy(address), load_policy("shipped")
        assert remote.interface == here.interface and remote.served.policy == "shipped"
        rng = np.random.default_rng(0)
        images = {c: rng.integers(0, 256, (*size, 3), np.uint8) for c, size in here.interface.cameras.items()}
        obs = Observation(images, np.zeros(22, np.float32), "pick up the red cube", 0.5)
        np.testing.assert_array_equal(remote.act(obs).actions, here.act(obs).actions)
        server.send_signal(signal.SIGTERM)
        out, err = server.communicate(timeout=20)
        assert server.returncode == 0 and "1 requests were answered" in err and "Traceback" not in err
        assert json.loads(out) | {"address": ""} == {"policy": "shipped", "address": "", "answered": 1}
        assert remote.unreachable is not None
        remote.close()
    finally:
        os.environ.pop(KEY, None)
        server.kill()
        server.communicate()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--host", "0.0.0.0"], f"a key in the environment variable {KEY}"),
        (["--port", "99999"], "0 … 65535"),
        (["--certificate", "no.pem", "--private-key", "no.pem"], "no file 'no.pem'"),
        (["--certificate", "no.pem"], "one is missing"),
        (["nowhere"], "no checkpoint at 'nowhere'"),
        (["ws://127.0.0.1:1"], "no policy server at 127.0.0.1:1"),
        (["--host", "256.1.1.1", "--open"], "cannot listen on 256.1.1.1:8000"),
    ],
)
def test_what_cannot_be_served_is_told(words, said, capsys, monkeypatch):
    monkeypatch.delenv(KEY, raising=False)
    assert main(["serve", *words]) in (2, 3)
    assert said in " ".join(capsys.readouterr().err.split())
