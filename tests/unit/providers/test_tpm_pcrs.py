"""URIs of roots in a TPM, and what can be said without one; the rest is in tests/interop/tpm."""

from __future__ import annotations

import sys

import pytest

from hermetic.errors import Unsupported, UsageError
from hermetic.providers.registry import create_root, open_provider
from hermetic.providers.tpm_pcrs import Selection, named, selection


@pytest.mark.parametrize(
    ("uri", "found"),
    [
        ("tpm:sha256:7", Selection("sha256", (7,))),
        ("tpm:sha256:0,2,7", Selection("sha256", (0, 2, 7))),
        ("tpm:sha384:22", Selection("sha384", (22,))),
    ],
)
def test_what_is_read(uri, found):
    assert selection(uri) == found
    assert f"tpm:{found}" == uri


@pytest.mark.parametrize(
    "rest",
    [
        "", "7", "sha256", "sha256:", "sha1:7", "sha256:7,2", "sha256:7,7", "sha256:07", "sha256:23", "sha256:24", "sha256:16",
        "sha256:2,16", "sha256:-1", "sha256:7,", "sha256: 7", "sha256:0x7", "sha256:7:0", "SHA256:7", "sha256:0-7",
    ],
)  # fmt: skip
def test_what_is_refused(rest):
    with pytest.raises(UsageError):
        selection(f"tpm:{rest}")


def test_registers_have_names():
    assert named((7, 19)) == "7 (Secure Boot: its state and keys), 19"


def test_a_missing_library_is_named(place, monkeypatch):
    monkeypatch.setitem(sys.modules, "tpm2_pytss", None)
    monkeypatch.delenv("TSS2_LOG", raising=False)
    with pytest.raises(Unsupported, match="tpm2-pytss is not installed") as caught:
        create_root("tpm:sha256:7", place)
    assert caught.value.hint == "pip install '.[tpm]'"
    assert open_provider("tpm:sha256:7", place).status().state == "unreachable"
