"""Homes, projects and settings: whose they are, where they lie, what they say."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import subprocess
import sys
from copy import deepcopy
from pathlib import Path

import pytest

from hermetic.assets.workspace import Workspace
from hermetic.db import filesystems
from hermetic.domain import config, project
from hermetic.domain.connect import connect
from hermetic.domain.create import create_domain
from hermetic.domain.custody_place import ServicePlace, place_of
from hermetic.domain.home import Home, check_places, private_folder
from hermetic.errors import (
    ConfigError,
    Conflict,
    Denied,
    HermeticError,
    IntegrityError,
    NotFound,
    StorageError,
    UsageError,
)
from tests import world as w

OTHER = 65534
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")


# homes


@pytest.mark.parametrize("environment", [{"HERMETIC_HOME": "relative"}, {"HERMETIC_HOME": "./x"}])
def test_a_home_is_absolute(environment):
    with pytest.raises(ConfigError):
        Home.locate(environment)


def test_who_forgot_where_custody_is_hears_of_it_first(world, tmp_path):
    elsewhere = Home(tmp_path / "data", tmp_path / "config")
    with pytest.raises(NotFound, match="no custody of domain") as lost:
        world.connect(home=elsewhere)
    assert lost.value.hint.startswith("custody elsewhere: HERMETIC_URL")
    assert "hermetic restore" in lost.value.hint
    identity = elsewhere.domain_config(world.domain) / "identity"
    identity.mkdir(parents=True)
    (identity / "current").symlink_to("set")
    with pytest.raises(NotFound, match=r"HERMETIC_URL is not set.* certificate") as forgotten:
        world.connect(home=elsewhere)
    assert "restore" not in forgotten.value.hint
    (world.home.domain_config(world.domain) / "identity").mkdir()
    (world.home.domain_config(world.domain) / "identity" / "current").symlink_to("set")
    assert world.connect().welcome.domain == world.domain  # who has custody here may have a certificate too


def test_a_home_in_a_project_is_refused(world, tmp_path):
    link = tmp_path / "link"
    link.symlink_to(world.project)
    (world.project / "sub").mkdir()
    deep = tmp_path / "deep"
    deep.symlink_to(world.project / "sub")
    for base in (world.project, world.project / "sub" / "home", link, link / "home", deep / "home"):
        with pytest.raises(ConfigError, match="inside the project"):
            Home.locate({"HERMETIC_HOME": str(base)})
    for variable in ("XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        with pytest.raises(ConfigError, match="inside the project"):
            Home.locate({"XDG_DATA_HOME": "/tmp/a", "XDG_CONFIG_HOME": "/tmp/b", variable: str(world.project / "x")})


def test_init_refuses_a_home_in_its_project(tmp_path):
    (tmp_path / "p").mkdir()
    (tmp_path / "l").symlink_to(tmp_path / "p")
    for base in (tmp_path / "p", tmp_path / "l" / "home"):
        with pytest.raises(ConfigError):
            create_domain(
                tmp_path / "p", provider_uri="local:insecure-file", project_name="x", home=Home(base / "data", base / "config")
            )
    assert list((tmp_path / "p").iterdir()) == []


@pytest.mark.parametrize("where", ["project/backup", "home/data/backup", "home/config", "link"])
def test_backup_places_too_near_are_refused(world, where):
    (world.root / "link").symlink_to(world.project)
    place = world.root / where
    with pytest.raises(ConfigError):
        check_places(world.project, world.home, place)
    config.save(world.home.domain_config(world.domain), config.UserConfig(backup_place=place))
    with pytest.raises(ConfigError):
        world.connect()


def test_a_home_that_others_can_write_is_refused(world):
    world.data.chmod(0o777)
    with pytest.raises(HermeticError) as refused:
        world.connect()
    assert refused.value.exit_code in {3, 4}
    world.data.chmod(0o700)
    (world.data / "domain.json").chmod(0o644)
    with pytest.raises(IntegrityError):
        world.connect()
    (world.data / "domain.json").chmod(0o600)
    world.database.chmod(0o622)
    with pytest.raises(Denied):
        world.connect()


@root_only
def test_a_home_of_another_user_is_refused(world):
    os.chown(world.database, OTHER, OTHER)
    with pytest.raises(Denied):
        world.connect()
    os.chown(world.database, 0, 0)
    os.chown(world.data / "domain.json", OTHER, OTHER)
    with pytest.raises(IntegrityError):
        world.connect()


def test_a_private_folder_is_ones_own(tmp_path):
    made = private_folder(tmp_path / "a" / "b")
    assert made.stat().st_mode & 0o777 == 0o700
    made.chmod(0o770)
    with pytest.raises(Denied):
        private_folder(made)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StorageError):
        private_folder(tmp_path / "file" / "x")


@pytest.mark.parametrize("name", ["NFS", "FUSE", "9p"])
def test_a_home_on_another_machines_disk_is_refused(world, monkeypatch, name):
    magic = next(number for number, known in filesystems.UNSAFE.items() if known == name)
    monkeypatch.setattr(filesystems, "kind", lambda _path: magic)
    with pytest.raises(StorageError, match=name):
        world.connect()


def test_a_domain_file_of_another_domain_is_refused(world, tmp_path):
    other = w.World.make(tmp_path / "other", backup=True)
    (world.data / "domain.json").write_bytes((other.data / "domain.json").read_bytes())
    with pytest.raises(HermeticError) as refused:
        world.connect()
    assert refused.value.exit_code == 4


def test_a_service_address_is_not_ignored(world, monkeypatch):
    monkeypatch.setenv("HERMETIC_URL", "https://custody.example")
    with pytest.raises(NotFound, match="no certificate"):
        connect(world.project, home=world.home)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("", None),
        ("unix:/run/custody.sock", Path("/run/custody.sock")),
        ("https://custody.example:9443", ServicePlace("custody.example", 9443)),
        ("https://custody.example/", ServicePlace("custody.example", 8443)),
        ("https://[::1]:443", ServicePlace("::1", 443)),
        ("http://custody.example", UsageError),
        ("/run/custody.sock", UsageError),
        ("unix:relative", UsageError),
        ("https://", UsageError),
        ("https://host:port", UsageError),
        ("https://user@host", UsageError),
        ("https://host/path", UsageError),
        ("https://host?x=1", UsageError),
    ],
)
def test_what_addresses_say(url, place):
    if isinstance(place, type):
        with pytest.raises(place):
            place_of(url)
    else:
        assert place_of(url) == place


# projects


def test_the_nearest_project_counts(world, tmp_path):
    inside = world.project / "a" / "b"
    inside.mkdir(parents=True)
    assert project.find_root(inside) == world.project.resolve()
    with pytest.raises(NotFound):
        project.find_root(tmp_path)


@root_only
def test_a_planted_project_is_refused(tmp_path):
    """Another user puts a hermetic.yaml above the folder that somebody works in."""
    made = w.World.make(tmp_path / "w")
    work = made.project / "work"
    work.mkdir()
    for path in (made.project / "hermetic.yaml", made.project / "policies", made.project):
        os.chown(path, OTHER, OTHER)
        with pytest.raises(Denied, match="belongs to another user"):
            connect(work, home=made.home)
        os.chown(path, 0, 0)
    os.chown(made.project / "policies" / "roles.cedar", OTHER, OTHER)
    with pytest.raises(Denied):
        connect(work, home=made.home)


@root_only
def test_another_user_cannot_use_a_planted_project(tmp_path):
    made = w.World.make(tmp_path / "w")
    code = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from hermetic.domain.connect import connect\n"
        "from hermetic.domain.home import Home\n"
        "from hermetic.errors import HermeticError\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try:\n"
        "    connect(Path(sys.argv[1]), home=Home(Path(sys.argv[2]), Path(sys.argv[2])))\n"
        "except HermeticError as error:\n"
        "    print(type(error).__name__, error); sys.exit(error.exit_code)\n"
    )
    for path in (tmp_path, made.root, made.project, made.project / "hermetic.yaml"):
        path.chmod(0o755)
    (tmp_path / "theirs").mkdir(mode=0o777)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "HOME": str(tmp_path / "theirs")}
    done = subprocess.run(
        [sys.executable, "-c", code, made.project, tmp_path / "theirs"], env=environment, capture_output=True, text=True, check=False
    )
    if "Denied" not in done.stdout and done.returncode != 3:
        reachable = subprocess.run(
            ["setpriv", "--reuid", "65534", "--clear-groups", "test", "-r", made.project / "hermetic.yaml"], check=False
        )
        if reachable.returncode != 0:
            pytest.skip("the other user cannot reach the test's folder")
    assert done.returncode == 3, done.stdout + done.stderr


@pytest.mark.parametrize("mode", [0o666, 0o777, 0o602])
def test_a_project_that_others_can_write_is_refused(world, mode):
    path = world.project / "hermetic.yaml"
    path.chmod(mode)
    with pytest.raises(Denied, match="others can write"):
        world.connect()
    path.chmod(0o644)
    (world.project / "policies").chmod(0o777)
    with pytest.raises(Denied):
        world.connect()


def test_links_and_devices_in_a_project_are_refused(world, tmp_path):
    path = world.project / "hermetic.yaml"
    kept = path.read_bytes()
    path.unlink()
    (tmp_path / "elsewhere").write_bytes(kept)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HermeticError):
        world.connect()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(HermeticError):
        world.connect()
    path.unlink()
    path.write_bytes(b"x" * (2 << 20))
    with pytest.raises(ConfigError):
        world.connect()
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError):
        world.connect()
    path.write_bytes(kept)
    (world.project / "policies").rename(tmp_path / "policies")
    (world.project / "policies").symlink_to(tmp_path / "policies")
    with pytest.raises(Denied):
        world.connect()


def test_a_store_outside_the_project_is_refused(world, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (world.project / "sealed").rmdir()
    (world.project / "sealed").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ConfigError, match="leads out"):
        world.connect()


def test_init_twice(world):
    with pytest.raises(Conflict):
        create_domain(world.project, provider_uri="local:insecure-file", project_name="x", home=world.home)
    with pytest.raises(StorageError):
        create_domain(world.root / "none", provider_uri="local:insecure-file", project_name="x", home=world.home)


# settings


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "1",
        "false",
        "nonsense: {}",
        "backup: []",
        "backup: {place: relative}",
        "backup: {place: 7}",
        "backup: {place: /tmp/x, objects: yes please}",
        "backup: {place: /tmp/x, more: 1}",
        'backup: {place: "/tmp/\\0x"}',
        "anchor: {command: logger}",
        "anchor: {command: [1]}",
        'anchor: {command: ["a\\0b"]}',
        'anchor: {command: [""]}',
        "anchor: {shell: true}",
        "stores: [x]",
        "stores: {warehouse: /data}",
        "stores: {warehouse: {folder: data}}",
        "stores: {1: {folder: /data}}",
        "backup: {place: /a}\nbackup: {place: /b}",
        "a: [",
        "\t",
        "!!python/object:os.system x",
        "a: &x [*x]",
    ],
)
def test_settings_that_are_wrong(world, text):
    folder = world.home.domain_config(world.domain)
    (folder / config.CONFIG_FILE).write_text(text)
    (folder / config.CONFIG_FILE).chmod(0o600)
    with pytest.raises(ConfigError) as refused:
        world.connect()
    assert config.CONFIG_FILE in str(refused.value)


def test_settings_come_back_as_they_went(tmp_path):
    settings = config.UserConfig(
        backup_place=tmp_path / "b: #x",
        backup_objects=True,
        anchor_command=("logger", "-t", "it's"),
        store_folders={"warehouse": tmp_path},
    )
    config.save(tmp_path, settings)
    assert config.load(tmp_path) == settings
    config.save(tmp_path, config.UserConfig())
    assert config.load(tmp_path) == config.UserConfig()
    (tmp_path / config.CONFIG_FILE).write_text("")
    assert config.load(tmp_path) == config.UserConfig()


def test_settings_that_others_read_are_refused(world):
    path = world.home.domain_config(world.domain) / config.CONFIG_FILE
    path.write_text("backup: {place: /tmp/x}")
    path.chmod(0o644)
    with pytest.raises(IntegrityError):
        world.connect()
    path.chmod(0o600)
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError):
        world.connect()


def test_named_stores_are_found_by_the_settings(world, tmp_path):
    folder = world.home.domain_config(world.domain)
    with world.connect() as connection:
        assert set(connection.stores) == {"sealed"}
    config.save(folder, config.UserConfig(store_folders={"staging": tmp_path}))
    with world.connect() as connection:
        assert set(connection.stores) == {"sealed", "staging"}


def test_a_store_of_the_project_is_not_placed_anew_in_silence(world, tmp_path):
    folder = world.home.domain_config(world.domain)
    config.save(folder, config.UserConfig(store_folders={"staging": tmp_path, "sealed": tmp_path}))
    with pytest.raises(ConfigError, match="in a folder of the project") as found:
        world.connect()
    text = (folder / "config.yaml").read_text().splitlines()
    assert text[found.value.line - 1].strip() == "sealed:"
    assert "sealed: {kind: named}" in found.value.hint
    path = world.project / "hermetic.yaml"
    path.write_text(path.read_text().replace("sealed: {kind: local, path: sealed}", "sealed: {kind: named}"))
    with world.connect() as connection:
        assert connection.stores["sealed"].root == tmp_path


def test_a_connection_stays_in_its_process_and_says_what_it_is(world):
    with world.connect() as connection, Workspace(connection, purpose="train") as workspace:
        for one in (connection, workspace, [workspace]):
            for copy in (pickle.dumps, deepcopy):
                with pytest.raises(UsageError, match="another process") as found:
                    copy(one)
                assert "hermetic.connect()" in found.value.hint
        worker = multiprocessing.get_context("spawn").Process(target=print, args=(workspace,))
        with pytest.raises(UsageError, match="another process"):
            worker.start()
        said = f" to {connection.project.document.project} ({world.domain}) as {connection.welcome.principal}, cooperative"
        assert repr(connection) == f"<Connection{said}>"
        assert repr(workspace) == f"<Workspace{said}, for train>"
    assert repr(connection).endswith(", closed>")
