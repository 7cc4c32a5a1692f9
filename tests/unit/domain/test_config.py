"""A user's settings that are not what Hermetic wrote: told as that, by one kind of error."""

from __future__ import annotations

from pathlib import Path

import pytest

from hermetic.domain import config
from hermetic.errors import ConfigError, Conflict


@pytest.mark.parametrize(
    "text",
    [
        "backup: {[a]: b}\n",
        "{a: b}: c\n",
        "? [a, b]\n: c\n",
        "a: !!set {x, x}\n",
        "a: !!timestamp 2001-99-99\n",
        "a: !!int x\n",
        "a: !!float ''\n",
        "a: !!binary x\n",
        'a: "\\U99999999"\n',
        "%YAML 1\n--- a\n",
        "<<: 1\n",
        "a: &a [*a]\n",
        "[" * 2000,
        "stores: {1: {folder: /x}}\n",
        "stores: {a: {folder: x}}\n",
        "backup: {place: /x, objects: 1}\n",
        "anchor: {command: logger}\n",
        'backup: {place: "/a\\0"}\n',
        'backup: {place: "/\\ud800"}\n',
        "7\n",
    ],
)
def test_settings_that_cannot_be_read(tmp_path, text):
    tmp_path.chmod(0o700)
    path = tmp_path / config.CONFIG_FILE
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(ConfigError) as found:
        config.load(tmp_path)
    assert "\n" not in found.value.message


def test_bytes_that_are_no_text(tmp_path):
    path = tmp_path / config.CONFIG_FILE
    path.write_bytes(b"\xff\xfe")
    path.chmod(0o600)
    with pytest.raises(ConfigError):
        config.load(tmp_path)


def test_settings_of_a_provider_are_added_and_the_rest_stays(tmp_path):
    tmp_path.chmod(0o700)
    path = tmp_path / config.CONFIG_FILE
    config.add_provider(tmp_path, "fake:a", {})
    assert not path.exists(), "nothing to say"
    config.add_provider(tmp_path, "fake:a", {"address": "https://a.example.org"})
    assert path.read_text().startswith("# Your own settings")
    path.write_text("# mine\nbackup: {place: /media/usb}  # the blue one\n" + path.read_text())
    config.add_provider(tmp_path, "fake:b", {"pin_file": "/run/pin"})
    text = path.read_text()
    assert "# mine" in text
    assert "# the blue one" in text
    loaded = config.load(tmp_path)
    assert loaded.backup_place == Path("/media/usb")
    assert loaded.providers == {"fake:a": {"address": "https://a.example.org"}, "fake:b": {"pin_file": "/run/pin"}}
    config.add_provider(tmp_path, "fake:b", {"pin_file": "/run/pin"})
    with pytest.raises(Conflict, match="other settings for fake:b"):
        config.add_provider(tmp_path, "fake:b", {"pin_file": "/run/other"})
    assert path.read_text() == text
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_backup_place_is_kept_without_ways_up(tmp_path):
    (tmp_path / "older").mkdir()
    (tmp_path / "disk").symlink_to("older")
    for given, kept in (("trial/../older", "older"), ("disk", "disk")):  # a link may be meant to move
        config.save(tmp_path, config.UserConfig(backup_place=tmp_path / given))
        assert config.load(tmp_path).backup_place == tmp_path / kept
