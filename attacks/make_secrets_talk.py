"""Objects that hold keys are shown, copied, serialised and compared.

Attacker: a log formatter, an error reporter that prints local variables, a cache that pickles, a debugger left in the code.
Tries:    repr, str, format, pickle, copy, json, vars, dataclass helpers, rich and traceback with locals, on every object of the
          public interface that leads to a key; a handle of a lease redeemed twice, in a forked child, and by another process.
Stops it: Secret and everything around it refuse to be shown, copied and pickled; a handle is good once, in one process.
"""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import os
import pickle
import pprint
import sys
import traceback

from _secrets import every_secret, found_in, public_values
from _stage import Stage, Succeeded, main

from hermetic.assets.session import fresh_id
from hermetic.crypto import floe
from hermetic.crypto.secret import Secret
from hermetic.crypto.sign import SigningKey
from hermetic.custody import leasing
from hermetic.errors import HermeticError, LeaseEnded, UsageError
from hermetic.formats.messages.versions import OpenVersions
from hermetic.ids import Purpose
from hermetic.keys import wrap
from hermetic.keys.derived import DomainKeys
from hermetic.providers import local_root


def attack(stage: Stage) -> None:
    stage.create().seal()
    secrets = every_secret(stage, stage.read)
    secrets = {name: raw for name, raw in secrets.items() if raw not in public_values(stage)}
    with stage.connect(purpose="prepare") as h, h.version("dataset/patients") as version, h.open("dataset/patients") as file:
        custodian = h.connection._port._custodian
        holders = {
            "Secret": version.leased.key(),
            "SigningKey": SigningKey.generate(),
            "LeasedKey": version.leased,
            "OpenVersion": version,
            "MemberFile": file,
            "Workspace": h,
            "Connection": h.connection,
            "Custodian": custodian,
            "DomainKeys": custodian.keys,
            "RowKeys": custodian.row_keys,
            "Signer": custodian.signer,
            "HandleTable": custodian.handles,
            "Log": custodian.log,
        }
        for name, thing in holders.items():
            _show(stage, name, thing, secrets)
            _copies(stage, name, thing, secrets)
        _handles(stage, h)
    _tracebacks(stage, secrets)
    key = Secret.random(32)
    key.wipe()
    stage.refused("a wiped secret", key.view, UsageError)


def _show(stage: Stage, name: str, thing: object, secrets: dict[str, bytes]) -> None:
    shows = [repr, str, "{}".format, "{!r}".format, pprint.pformat, lambda value: repr([value]), lambda value: f"{value!s:>80}"]
    text = "\n".join(show(thing) for show in shows)
    if dataclasses.is_dataclass(thing):
        text += repr({field.name: getattr(thing, field.name) for field in dataclasses.fields(thing)})
    if shown := found_in(text.encode(), secrets):
        raise Succeeded(f"{name} shows {shown}")
    stage.told.append(f"  stopped  {name} shows nothing: {repr(thing)[:60]}")


def _copies(stage: Stage, name: str, thing: object, secrets: dict[str, bytes]) -> None:
    for what, call in {"pickle": pickle.dumps, "deepcopy": copy.deepcopy, "json": lambda item: json.dumps(item, default=vars)}.items():
        try:
            got = call(thing)
        except (HermeticError, TypeError, ValueError, AttributeError, pickle.PicklingError, RecursionError) as error:
            stage.told.append(f"  stopped  {what} of {name}: {type(error).__name__}")
            continue
        raw = got if isinstance(got, bytes) else got.encode() if isinstance(got, str) else repr(got).encode()
        if what == "deepcopy" or found_in(raw, secrets):
            raise Succeeded(f"{what} of {name} works")


def _tracebacks(stage: Stage, secrets: dict[str, bytes]) -> None:
    """An error reporter that prints the local variables of every frame, for defects deep inside a release and a read."""
    from rich.console import Console
    from rich.traceback import Traceback

    for what, owner, name in (
        ("a segment is decrypted", floe.FloeDecryptor, "decrypt_into"),
        ("a data key is compared", wrap, "open_payload"),
        ("a data key is derived", wrap, "data_key_and_check"),
        ("a root unwraps", local_root, "derive"),
        ("keys are derived from the domain secret", DomainKeys, "require_check"),
        ("a lease is handed over", leasing, "hand_over"),
    ):
        failure = _failing(stage, owner, name)
        if failure is None:
            continue
        text = "".join(traceback.TracebackException(*failure, capture_locals=True).format())
        out = io.StringIO()
        Console(file=out, width=200).print(Traceback.from_exception(*failure, show_locals=True))
        shown = found_in((text + out.getvalue()).encode(), secrets)
        stage.found(f"local variables in tracebacks show no key while {what}", not shown)


def _failing(stage: Stage, owner: object, name: str):
    """Return the failure of a read with a defect in one function; this frame and those above it know no secret."""
    kept = getattr(owner, name)

    def failing(*arguments, **more):
        raise RuntimeError("as if by a defect")

    setattr(owner, name, failing)
    try:
        stage.read()
    except RuntimeError:
        return sys.exc_info()
    finally:
        setattr(owner, name, kept)
    return None


def _handles(stage: Stage, h) -> None:
    port = h.connection.port
    opened = port.ask(OpenVersions(fresh_id(), ("dataset/patients",), Purpose.PREPARE))
    blob = opened.released[0].lease.key
    stage.honest("a handle is good once", len(port.redeem(blob)), 32)
    stage.refused("and not twice", lambda: port.redeem(blob), LeaseEnded)
    again = port.ask(OpenVersions(fresh_id(), ("dataset/patients",), Purpose.PREPARE)).released[0].lease
    leased = h.connection.leases.take(again)
    child = os.fork()
    if child == 0:
        try:
            leased.key()
        except LeaseEnded:
            os._exit(0)
        except BaseException:  # noqa: BLE001 - the child only reports
            os._exit(2)
        os._exit(1)
    stage.found("a forked child cannot use the parent's key", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0)
    leased.end()
    stage.refused("a lease given back", leased.key, LeaseEnded)


if __name__ == "__main__":
    main(attack)
