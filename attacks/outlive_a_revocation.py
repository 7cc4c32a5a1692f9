"""A key is used after it was taken away, and wraps are moved to where they open for somebody else.

Attacker: a process that holds a lease and goes on after suspension, revocation, the end of a grant or of a role; then whoever can
          write the database.
Tries:    go on reading without asking custody again, ask with another's lease, with a lease given back; read with a clock turned
          back; move the wrap of one version to another, of production to development, of one KEK to another, with all rows
          authentic.
Stops it: leases confirm themselves by a clock that nobody sets, and custody asks the whole policy again; a wrap is bound to
          domain, environment, asset, version, data key and KEK.
"""

from __future__ import annotations

from _stage import Stage, main

from hermetic.assets.session import fresh_id
from hermetic.crypto.secret import Secret
from hermetic.errors import HermeticError, IntegrityError, LeaseEnded, WrongKey
from hermetic.formats.messages.keys import ChangeKeyState
from hermetic.formats.messages.versions import CheckLeases, EndLeases
from hermetic.ids import AssetId, DataClass, DataKeyId, DomainId, Environment, KekId, VersionId
from hermetic.keys.wrap import DataKeyContext, KekContext, SlotKind, new_secret, unwrap_data_key, wrap_data_key


def attack(stage: Stage) -> None:
    stage.create().seal()
    kek = stage.sql("SELECT id FROM kek")[0][0]
    with stage.connect(purpose="prepare") as h:
        ask = h.session.ask
        leased = h.version("dataset/patients").leased
        now = leased._clock()
        leased._clock = lambda: now
        stage.honest("the lease holds", leased.guard(), None)
        ask(ChangeKeyState(kek, "suspend", "an incident"))
        stage.kept(
            "going on within `check`", f"{leased.lease.check_ms} ms, as the class says: a key that was given cannot be recalled"
        )
        leased._clock = lambda: now + leased.lease.check_ms
        stage.refused("going on after that", leased.key, LeaseEnded)
        leased._clock = lambda: now - 10**9
        stage.refused("with the clock turned back", leased.key, LeaseEnded)
        stage.found("the key itself is gone", leased._secret is None)
        stage.refused("asking anew", lambda: h.version("dataset/patients"), HermeticError)
        ask(ChangeKeyState(kek, "resume", "over"))
        other = h.version("dataset/patients").leased
        ask(EndLeases((other.lease.id,)))
        stage.found("a lease given back", ask(CheckLeases((other.lease.id,))).states[0].ended)
        stage.found("a lease of nobody", ask(CheckLeases((fresh_id(),))).states[0].ended)
        stage.sql("UPDATE lease SET state = 'active' WHERE id = ?", (other.lease.id,))
        stage.refused("a lease revived by hand", lambda: ask(CheckLeases((other.lease.id,))), HermeticError)
    _wraps(stage)


def _wraps(stage: Stage) -> None:
    """Every field of both contexts, changed one at a time, against the same KEK."""
    key, secret = Secret.random(), new_secret()
    one, two = "a" * 26, "b" * 25 + "a"
    data = {"domain": DomainId(one), "environment": Environment.DEVELOPMENT, "asset_id": AssetId(one), "version_id": VersionId(one)}
    data["data_key_id"] = DataKeyId(one)
    place = {"kek_id": KekId(one), "number": 1, "environment": Environment.DEVELOPMENT, "project": "p"}
    place["data_class"] = DataClass.RESTRICTED
    wrapped = wrap_data_key(key, secret, KekContext(**place), DataKeyContext(**data))

    def unwrap(kek_changes=None, data_changes=None, kek=key):
        where, what = {**place, **(kek_changes or {})}, {**data, **(data_changes or {})}
        return unwrap_data_key(kek, wrapped, KekContext(**where), DataKeyContext(**what))

    stage.honest("a wrap opens in its place", len(unwrap()), 32)
    for field in ("domain", "asset_id", "version_id", "data_key_id"):
        stage.refused(f"a wrap moved to another {field}", lambda f=field: unwrap(None, {f: two}), IntegrityError)
    others = {"kek_id": two, "number": 2, "data_class": DataClass.PUBLIC, "project": "q", "slot": SlotKind.IN_PROVIDER}
    for field, value in others.items():
        stage.refused(f"a wrap under another {field} of the KEK", lambda f=field, v=value: unwrap({f: v}), WrongKey)
    production = {"environment": Environment.PRODUCTION}
    stage.refused("a wrap moved to production", lambda: unwrap(production, production), WrongKey)
    stage.refused("a wrap opened across environments", lambda: unwrap(None, production), IntegrityError)
    stage.refused("a wrap under another KEK", lambda: unwrap(kek=Secret.random()), WrongKey)


if __name__ == "__main__":
    main(attack)
