"""What MLflow's requests carry: the id of the run around them, and nothing outside one."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import mlflow
import pytest

from hermetic.integrations.mlflow.headers import HEADER


@pytest.fixture
def listener():
    """A server that answers every request with nothing; `asked` are the headers of each."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            listener.asked.append(dict(self.headers))
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        do_GET = do_POST  # noqa: N815 - http.server's name

        def log_message(self, *_):
            pass

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listener.asked = []
    thread = threading.Thread(target=listener.serve_forever)
    thread.start()
    yield listener
    listener.shutdown()
    thread.join()
    listener.server_close()


def test_the_run_around_a_request_is_in_its_header(client, h, listener, monkeypatch):
    asking = mlflow.MlflowClient(f"http://127.0.0.1:{listener.server_port}")

    def sent():
        asking.search_experiments()
        return {headers.get(HEADER) for headers in listener.asked[-1:]}

    assert sent() == {None}
    with h.run("fit", purpose="train") as run:
        assert sent() == {run.id}
    assert sent() == {None}
    monkeypatch.setenv("HERMETIC_RUN", run.id)
    assert sent() == {run.id}
    told = str(listener.asked)
    assert "hermetic" not in told.lower().replace(HEADER.lower(), "")
