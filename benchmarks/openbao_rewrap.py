"""How long it takes to bring many wraps under the newest version of a root in OpenBao, beside OpenBao's own batch rewrap.

    python benchmarks/openbao_rewrap.py [--count 10000] [--rounds 9] [--folder DIR] [--bao PATH]

Both ask the same server in turn, over http on loopback with the file audit device on. Direct: the ciphertexts in one request, whose
body was made before the clock starts, the answer parsed; this takes a server whose limit of JSON strings was raised. In pieces: as
many in a request as a server takes by default. Hermetic: `rewrap_many` from stored wraps to new wraps, the key looked at first, in
pieces that every server takes, two of them under way at once. Neither side opens what was wrapped.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import _openbao

from hermetic.crypto.secret import Secret
from hermetic.errors import HermeticError
from hermetic.ids import DomainId, id_from_bytes
from hermetic.keys.provider import RootId
from hermetic.providers import openbao_wrap
from hermetic.providers.openbao_transit import CHUNK
from hermetic.providers.place import Place
from hermetic.providers.registry import create_root

if TYPE_CHECKING:
    from collections.abc import Callable

GOAL = 1.3


def main() -> None:
    """Run and print the table."""
    options = _options()
    if options.bao is None:
        print("OpenBao is not here: `make interop-openbao` installs it, then run this with .environments/openbao/bin/python")
        return
    with (
        tempfile.TemporaryDirectory(dir=options.folder, prefix="hermetic-bench-") as name,
        _openbao.serving(Path(name), options.bao) as server,
    ):
        medians = _measure(Path(name), server, options)
    baseline = medians["direct, one request"]
    print(f"{options.count:,} wraps; median of {options.rounds} rounds, in turn")
    for label, seconds in medians.items():
        print(f"{label:34}{seconds * 1000:9.0f} ms{options.count / seconds:12,.0f} a second{seconds / baseline:8.2f} x")
    ratio = medians["Hermetic rewrap_many"] / baseline
    print(f"Hermetic takes {ratio:.2f} x the time of OpenBao's own batch rewrap; the goal is at most {GOAL} x")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--bao", default=_openbao.program(), help="path of an OpenBao server")
    return parser.parse_args()


def _measure(folder: Path, server: _openbao.Server, options: argparse.Namespace) -> dict[str, float]:
    server.call("sys/mounts/transit", {"type": "transit"})
    token = folder / "token"
    token.touch(0o600)
    token.write_text(server.token)
    settings = {"address": server.address, "token_file": str(token)}
    place = Place(folder, DomainId(id_from_bytes(os.urandom(16))), RootId(id_from_bytes(os.urandom(16))), settings=settings)
    root = create_root("openbao:transit/k", place)
    contexts = [b"data key %d" % number for number in range(options.count)]
    wraps = root.wrap_many([(Secret.random(32), context) for context in contexts])
    asked = list(zip(wraps, contexts, strict=True))
    items = [
        {"ciphertext": openbao_wrap.decode(wrapped).ciphertext, "context": openbao_wrap.derivation(place.root_id, context)}
        for wrapped, context in asked
    ]
    whole = [json.dumps({"batch_input": items}).encode()]
    pieces = [json.dumps({"batch_input": items[at : at + CHUNK]}).encode() for at in range(0, len(items), CHUNK)]
    server.call("transit/keys/k/rotate", {})
    work: dict[str, Callable[[], int]] = {
        "direct, one request": lambda: _direct(server, whole),
        f"direct, {CHUNK} in a request": lambda: _direct(server, pieces),
        "Hermetic rewrap_many": lambda: sum(not isinstance(result, HermeticError) for result in root.rewrap_many(asked)),
    }
    times: dict[str, list[float]] = {label: [] for label in work}
    for number in range(options.rounds + 1):
        for label, call in work.items():
            start = time.perf_counter()
            done = call()
            taken = time.perf_counter() - start
            if done != options.count:
                raise SystemExit(f"{label}: {done} of {options.count} were rewrapped")
            if number:  # the first round warms up
                times[label].append(taken)
    return {label: statistics.median(taken) for label, taken in times.items()}


def _direct(server: _openbao.Server, bodies: list[bytes]) -> int:
    answers = [server.sent("transit/rewrap/k", body)["data"]["batch_results"] for body in bodies]
    return sum("ciphertext" in result for answer in answers for result in answer)


if __name__ == "__main__":
    main()
