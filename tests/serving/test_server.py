"""The command as a process: ready, reloading on SIGHUP, draining on SIGTERM; and what it refuses."""

import gc
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
import typer

from genrec.cli import app
from genrec.recommender.folder import whole
from genrec.serving import server

START = "import sys; from genrec.cli import main; main(sys.argv[1:])"


class Process:
    """A running `genrec serve`, and the lines of its log as they come."""

    def __init__(self, folder, *words, tokens=None):
        environment = os.environ | {"OMP_NUM_THREADS": "1"}
        environment.pop("GENREC_TOKENS", None)
        if tokens:
            environment["GENREC_TOKENS"] = tokens
        command = [sys.executable, "-c", START, "serve", str(folder), "--port", "0", *words]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self.lines, self.news = [], threading.Condition()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        for line in self.process.stderr:
            with self.news:
                self.lines.append(line)
                self.news.notify_all()

    def wait_for(self, event, count=1):
        """The facts of the `count`-th log line of an event."""
        with self.news:
            assert self.news.wait_for(lambda: len(self.events(event)) >= count, 90), self.lines
            return self.events(event)[count - 1]

    def events(self, event):
        return [facts for facts in map(json.loads, self.lines) if facts["event"] == event]

    def stop(self, name=signal.SIGTERM):
        """Exit status after a signal."""
        self.process.send_signal(name)
        return self.process.wait(60)


@pytest.fixture
def serving(recommender_folder, tmp_path):
    """A process that serves a copy of the shop's recommender to those who have a token."""
    shutil.copytree(recommender_folder, tmp_path / "served")
    process = Process(tmp_path / "served", "--max-wait-ms", "20", tokens="a-token,another")
    process.folder = tmp_path / "served"
    yield process
    process.process.kill()
    process.process.wait(60)
    process.process.stderr.close()


@pytest.mark.slow
def test_a_server_lives_reloads_drains_and_says_nothing_of_users(serving):
    ready = serving.wait_for("ready")
    assert (ready["items"], ready["tokens"], ready["snapshot"]) == (120, True, 1)
    headers = {"Authorization": "Bearer a-token"}
    url = f"http://127.0.0.1:{ready['port']}"
    with httpx2.Client(base_url=url, headers=headers, timeout=60) as client:
        answer = client.post("/recommend", json={"history": ["P0017", "P0018"], "k": 3})
        assert len(answer.json()["recommendations"]) == 3
        assert answer.headers.get("server") is None
        for path in ("/search?q=lantern", "/items/P0019", "/nothing?q=tent"):
            client.get(path)
        client.post("/recommend", json={"history": ["secret-id"]})
        client.post("/recommend", json={"history": [], "query": "a tent"})
        client.get("/health", headers={"Authorization": "Bearer wrong-token"})

        os.kill(serving.process.pid, signal.SIGHUP)
        assert serving.wait_for("recommender replaced")["snapshot"] == 2
        assert client.get("/health").json()["snapshot"] == 2
        (serving.folder / "catalog.parquet").unlink()
        os.kill(serving.process.pid, signal.SIGHUP)
        assert serving.wait_for("reload failed")["error"] == "Refusal"
        assert client.post("/recommend", json={"history": []}).status_code == 200

        with ThreadPoolExecutor(5) as pool:
            body = {"histories": [["P0017"]] * 200, "k": 100}
            answers = [pool.submit(client.post, "/recommend", json=body) for _ in range(5)]
            while client.get("/health").json()["unanswered"] < 400:
                time.sleep(0.01)
            assert serving.stop() == 0
            assert [answer.result().status_code for answer in answers] == [200] * 5
    assert [json.loads(line)["event"] for line in serving.lines][-1] == "stopped"
    log = "".join(serving.lines)
    for word in ("P00", "lantern", "tent", "secret-id", "a-token", "another", "wrong-token"):
        assert word not in log, word
    routes = {facts["route"] for facts in serving.events("request")}
    assert routes == {"/recommend", "/search", "/items/{item_id}", "/health", "no route"}


def test_without_its_extra_it_names_the_command_that_installs_it(
    command, recommender_folder, monkeypatch
):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    answer = command("serve", recommender_folder)
    assert answer.status == 2
    assert "pip install 'genrec[serve]'" in answer.message
    assert "'uvicorn'" in answer.message


def test_an_address_that_is_taken_is_refused(command, recommender_folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        answer = command("serve", recommender_folder, "--port", port)
    assert answer.status == 2
    assert f"--port {port} cannot be listened on" in answer.message


def test_answers_do_not_wait_for_acknowledgements():
    with (
        server._listen(server.ServeSettings(port=0)) as listening,
        socket.create_connection(listening.getsockname()),
        listening.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_others_are_not_let_in_without_tokens(command, recommender_folder, monkeypatch):
    monkeypatch.delenv("GENREC_TOKENS", raising=False)
    answer = command("serve", recommender_folder, "--host", "0.0.0.0")
    assert answer.status == 2
    assert "GENREC_TOKENS" in answer.message
    assert "--no-auth" in answer.message


BAD = {
    "no folder": (["nowhere"], "nowhere is not a folder"),
    "no recommender": (["."], "not a recommender"),
    "no seconds": (["{rec}", "--timeout", "0"], "timeout = 0.0: input should be greater than 0"),
    "endless": (["{rec}", "--timeout", "inf"], "finite"),
    "no queue": (["{rec}", "--queue", "0"], "--queue"),
    "no port": (["{rec}", "--port", "70000"], "--port"),
    "no such host": (["{rec}", "--host", "no.such.host.invalid", "--no-auth"], "listened on"),
    "watch always": (["{rec}", "--watch", "0"], "watch = 0.0"),
    "no such device": (["{rec}", "--device", "abacus", "--port", "0"], "abacus"),
}


@pytest.mark.parametrize(("words", "says"), BAD.values(), ids=BAD)
def test_bad_options_are_refused(command, recommender_folder, monkeypatch, tmp_path, words, says):
    monkeypatch.delenv("GENREC_TOKENS", raising=False)
    monkeypatch.chdir(tmp_path)
    port = [] if "--port" in words else ["--port", "0"]
    words = [word.replace("{rec}", str(recommender_folder)) for word in words]
    answer = command("serve", *words, *port)
    assert answer.status == 2
    assert says in answer.message
    assert "Traceback" not in answer.err


def test_help_shows_examples(command):
    answer = command("serve", "--help")
    assert answer.status == 0
    assert "GENREC_TOKENS" in answer.out
    assert "/recommend" in answer.out


def test_the_collector_passes_over_what_is_loaded_and_finds_what_was_replaced():
    class Ring:
        pass

    ring = Ring()
    ring.itself = ring
    gone = weakref.ref(ring)
    try:
        server._spare_the_collector()
        assert gc.get_freeze_count() > 1000
        del ring
        gc.collect()
        assert gone() is not None, "frozen"
        server._spare_the_collector()
        assert gone() is None
    finally:
        gc.unfreeze()


def test_signals_are_given_back(monkeypatch, recommender):
    """After the server has stopped, the process answers signals as before."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(server, "_run", lambda *_: _nothing())
    monkeypatch.setattr(server, "log_as_json", lambda: None)
    monkeypatch.setattr(whole, "open_folder", lambda *_, **__: recommender)
    server.serve(Path("folder"), server.ServeSettings(port=0), server.Tokens())
    gc.unfreeze()
    assert signal.getsignal(signal.SIGTERM) is before


async def _nothing():
    return None


def test_options_left_out_are_the_settings_defaults():
    settings = server.ServeSettings()
    group = typer.main.get_command(app)
    defaults = {option.name: option.default for option in group.commands["serve"].params}
    shared = defaults.keys() & type(settings).model_fields.keys()
    assert {"max_batch", "max_wait_ms", "queue", "timeout", "max_body", "drain"} <= shared
    assert {name: defaults[name] for name in shared} == settings.model_dump(include=shared)
