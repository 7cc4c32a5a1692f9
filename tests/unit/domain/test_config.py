"""A user's settings that are not what Hermetic wrote: told as that, by one kind of error."""

from __future__ import annotations

import pytest

from hermetic.domain import config
from hermetic.errors import ConfigError


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
