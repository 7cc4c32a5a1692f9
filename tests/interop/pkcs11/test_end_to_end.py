"""A domain whose root is in a token: sealed here, read by another process, and no key of it in the custody home."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from pathlib import Path

import pytest

import hermetic
from hermetic.crypto.secret import Secret
from hermetic.domain.create import create_domain
from hermetic.errors import Conflict, KeyServiceUnavailable, Locked, Unsupported
from hermetic.providers.local_insecure_file import InsecureFileRoot
from hermetic.providers.pkcs11 import Pkcs11Root
from tests.interop.pkcs11 import softhsm

HERMETIC = str(Path(sys.prefix) / "bin" / "hermetic")


def command(*words, code=0):
    done = subprocess.run([HERMETIC, *words], capture_output=True, check=False, stdin=subprocess.DEVNULL)
    assert done.returncode == code, done.stderr.decode()
    return done


@pytest.fixture
def project(tmp_path, monkeypatch):
    for name in ("custody", "project"):
        (tmp_path / name).mkdir(mode=0o700)
    monkeypatch.setenv("HERMETIC_HOME", str(tmp_path / "custody"))
    monkeypatch.chdir(tmp_path / "project")
    return tmp_path / "project"


@pytest.fixture
def seen(monkeypatch):
    """Every secret that passes through a root: what is wrapped under it is what opens the domain."""
    secrets = set()
    for kind in (Pkcs11Root, InsecureFileRoot):

        def wrap(self, secret, context, real=kind.wrap):
            secrets.add(bytes(secret.view()))
            return real(self, secret, context)

        monkeypatch.setattr(kind, "wrap", wrap)
    return secrets


def found_in(folder, secret):
    """Return the files that hold a secret, in one of the spellings in which it could lie there."""
    spellings = {secret, secret.hex().encode(), base64.b64encode(secret).rstrip(b"="), base64.urlsafe_b64encode(secret).rstrip(b"=")}
    return [path for path in folder.rglob("*") if path.is_file() and any(one in path.read_bytes() for one in spellings)]


def test_sealed_here_and_read_by_another_process(project, hsm, seen, tmp_path):
    made = create_domain(project, provider_uri=hsm.uri(), project_name="clinic", settings=hsm.settings)
    data = os.urandom(300_000)
    with hermetic.connect() as h:
        h.seal(data, name="dataset/patients", data_class="restricted", owner="ana")
    assert command("cat", "dataset/patients", "--purpose", "prepare").stdout == data
    assert len(seen) >= 4  # domain secret, two signing seeds, a KEK
    custody = tmp_path / "custody"
    assert len([path for path in custody.rglob("*") if path.is_file()]) >= 4
    assert [found_in(custody, secret) for secret in seen] == [[]] * len(seen)
    assert found_in(custody, hsm.pin.encode()) == []
    assert not list(custody.rglob("root-*"))
    assert made.domain_id


def test_the_search_would_find_it(project, seen, tmp_path):
    """The control: a root that lies in its file is found there."""
    create_domain(project, provider_uri="local:insecure-file", project_name="clinic")
    (file,) = (tmp_path / "custody").rglob("root-*.json")
    secret = InsecureFileRoot("local:insecure-file", _place(file)).load_root()
    assert found_in(tmp_path / "custody", bytes(secret.view())) == [file]


def _place(file):
    from hermetic.providers.place import Place

    return Place(file.parent, file.parent.name, file.name.removeprefix("root-").removesuffix(".json"))


def test_by_the_command_line_alone(project, hsm):
    settings = [word for name, value in hsm.settings.items() for word in ("--root-setting", f"{name}={value}")]
    told = command("init", "--root", hsm.uri(), "--project", "clinic", *settings)
    assert hsm.pin.encode() not in told.stdout + told.stderr
    (project / "x.csv").write_bytes(b"id,age\n1,44\n")
    command("seal", "x.csv", "--as", "dataset/x", "--class", "restricted")
    assert command("cat", "dataset/x", "--purpose", "prepare").stdout == b"id,age\n1,44\n"
    again = command("init", "--root", hsm.uri(), "--project", "other", *settings, code=1)
    assert b"hermetic" in again.stderr


def test_without_the_token_nothing_opens(project, hsm):
    create_domain(project, provider_uri=hsm.uri(), project_name="clinic", settings=hsm.settings)
    with hermetic.connect() as h:
        h.seal(b"data", name="dataset/x", data_class="internal")
    hsm.write_pin("wrong-wrong")
    refused = command("cat", "dataset/x", "--purpose", "prepare", code=6)
    assert b"refuses the PIN" in refused.stderr
    assert b"hint: write the right PIN into" in refused.stderr
    assert b"not tried again" in command("cat", "dataset/x", "--purpose", "prepare", code=6).stderr
    softhsm.turn()
    with pytest.raises(Locked):
        hermetic.connect()
    hsm.write_pin(hsm.pin)
    (token,) = hsm.tokens.iterdir()
    token.rename(hsm.folder / "away")
    assert b"there is no token" in command("cat", "dataset/x", "--purpose", "prepare", code=6).stderr
    softhsm.turn()
    with pytest.raises(KeyServiceUnavailable):
        hermetic.connect()
    (hsm.folder / "away").rename(token)
    assert command("cat", "dataset/x", "--purpose", "prepare").stdout == b"data"


def test_a_label_that_is_taken_makes_no_second_domain(project, hsm, tmp_path):
    create_domain(project, provider_uri=hsm.uri(), project_name="clinic", settings=hsm.settings)
    (tmp_path / "second").mkdir()
    with pytest.raises(Conflict, match="holds a key"):
        create_domain(tmp_path / "second", provider_uri=hsm.uri(), project_name="second", settings=hsm.settings)
    assert len([path for path in (tmp_path / "custody" / "data").iterdir() if path.is_dir()]) == 1


def test_a_recovery_passphrase_is_refused_before_anything_is_made(project, hsm, tmp_path):
    with pytest.raises(Unsupported, match="cannot leave its provider") as caught:
        create_domain(
            project,
            provider_uri=hsm.uri(),
            project_name="clinic",
            settings=hsm.settings,
            backup=tmp_path / "usb",
            recovery_passphrase=Secret(b"kept on paper in another building"),
        )
    assert "hermetic key shares create" in caught.value.hint
    assert [path for path in (tmp_path / "custody").rglob("*") if path.is_file()] == []
    create_domain(project, provider_uri=hsm.uri(), project_name="clinic", settings=hsm.settings)  # the label is free
