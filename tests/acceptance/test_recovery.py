"""Capabilities KM6 (shares and escrow) and BR2: what is left when a machine, or a root, is gone."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import hermetic
from tests.acceptance.conftest import CONFIG, NOTEBOOK, ROWS

CONTENT = {"dataset/patients": ROWS, "config/training": CONFIG, "config/notebook": NOTEBOOK}


def share_out(pipeline, *more):
    done = pipeline.hermetic("key", "shares", "create", "-n", 5, "-m", 3, "--to-folder", pipeline.root / "shares", "--json", *more)
    assert done.code == 0, done.err
    return done.json["files"]


def recover(pipeline, monkeypatch, name, *keys):
    """Recover on a machine that has nothing but project, store and backup place; return how that ended."""
    home = pipeline.root / name
    home.mkdir(mode=0o700)
    monkeypatch.setenv("HERMETIC_HOME", str(home))
    return pipeline.hermetic("key", "recover", "--from", pipeline.backup, "--root", "local:insecure-file", *keys)


def files(chosen):
    return [word for path in chosen for word in ("--share-file", path)]


def every_asset(h):
    """Open every version of every asset, for recovery, to its end."""
    opened = 0
    for row in h.list():
        for number in range(1, row.latest + 1):
            with h.open(f"{row.name}@{number}", purpose="recover") as file:
                content = file.read()
            assert content == CONTENT.get(row.name, content)
            opened += 1
    return opened


def test_KM6_three_of_five_shares_restore_every_asset_on_a_fresh_machine(pipeline, monkeypatch):
    with hermetic.connect() as h:
        versions = every_asset(h)
    shares = share_out(pipeline)
    done = recover(pipeline, monkeypatch, "fresh", *files([shares[0], shares[4], shares[2]]))
    assert done.code == 0, done.err
    with hermetic.connect() as h:
        assert every_asset(h) == versions >= 6


def test_KM6_two_of_five_shares_open_nothing(pipeline, monkeypatch):
    shares = share_out(pipeline)
    for number, chosen in enumerate(itertools.combinations(shares, 2)):
        done = recover(pipeline, monkeypatch, f"fresh-{number}", *files(chosen))
        assert (done.code, "2 of the 3 shares" in done.err) == (2, True)
        assert not list((pipeline.root / f"fresh-{number}").glob("data/*/domain.json"))


def test_KM6_no_share_and_no_seed_is_in_log_catalogue_or_backup(pipeline):
    shares = share_out(pipeline)
    words = [open_share(path) for path in shares]
    for path, raw in pipeline.everything_on_disk().items():
        if path.parent != pipeline.root / "shares":
            assert not any(word in raw for word in words), path


def open_share(path):
    """What a share has and the others do not: its words from the fifth on."""
    return b" ".join(Path(path).read_bytes().split()[4:])


def test_KM6_escrow_opens_what_the_domain_cannot(pipeline, monkeypatch):
    secret = pipeline.root / "ada-passphrase"
    secret.write_text("what only Ada knows")
    secret.chmod(0o600)
    key = pipeline.root / "ada"
    made = pipeline.hermetic("key", "escrow", "key", "new", key, "--name", "Ada", "--passphrase-file", secret, "--json")
    escrow = pipeline.hermetic("key", "escrow", "--to", made.json["public"])
    known = re.search(r"fingerprint of this domain.*: ([0-9a-f ]+)$", escrow.err, re.MULTILINE)[1]
    given = ("--escrow-key", key, "--escrow-passphrase-file", secret)
    unknown = recover(pipeline, monkeypatch, "doubtful", *given)  # anybody could have made a copy for Ada's public key
    assert (unknown.code, "--domain-fingerprint" in unknown.err) == (4, True), unknown.err
    done = recover(pipeline, monkeypatch, "fresh", *given, "--domain-fingerprint", known)
    assert done.code == 0, done.err
    with hermetic.connect() as h:
        assert every_asset(h) >= 6


def test_BR2_a_lost_root_is_told_and_shares_bring_the_domain_back(pipeline, monkeypatch):
    shares = share_out(pipeline)
    for path in pipeline.home.glob("data/*/root-*.json"):
        if b"insecure-root" in path.read_bytes():
            path.unlink()
    lost = pipeline.hermetic("ls")
    assert (lost.code, "needs recovery shares" in lost.err, "hermetic key recover" in lost.err) == (6, True, True)
    assert recover(pipeline, monkeypatch, "fresh", *files(shares[1:4])).code == 0
    with hermetic.connect() as h:
        assert every_asset(h) >= 6
    states = [row["state"] for row in pipeline.hermetic("key", "root", "ls", "--json").json["roots"]]
    assert sorted(states) == ["active", "active", "suspended"]


def test_BR2_a_domain_that_nothing_could_recover_is_a_finding(pipeline):
    for wrap in pipeline.backup.glob("*/recovery-*.json"):
        wrap.unlink()
    assert pipeline.hermetic("backup", "now").code == 0
    codes = [finding["code"] for finding in pipeline.hermetic("status", "--json").json["findings"]]
    assert "backup-without-recovery" in codes
    share_out(pipeline)
    codes = [finding["code"] for finding in pipeline.hermetic("status", "--json").json["findings"]]
    assert "backup-without-recovery" not in codes
