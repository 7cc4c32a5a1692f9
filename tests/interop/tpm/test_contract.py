"""What every provider must hold, for several selections of registers; and what a TPM adds and lacks."""

from __future__ import annotations

import stat

import pytest

from hermetic.crypto.secret import Secret
from hermetic.errors import Conflict
from hermetic.providers import conformance, unlock
from hermetic.providers.local_root import root_path
from hermetic.providers.place import Asked
from hermetic.providers.registry import create_root, open_provider, remove_root
from scripts.providers_table import record
from tests.interop.tpm.conftest import URI
from tests.unit.providers.contract import CONTEXT, ProviderContract


class TestTpm(ProviderContract):
    @pytest.fixture
    def provider(self, new_place):
        return create_root(URI, new_place())

    @pytest.fixture
    def again(self, provider):
        return open_provider(provider.uri, provider.place)

    @pytest.fixture
    def other(self, provider, new_place):
        return create_root(provider.uri, new_place())


@pytest.mark.parametrize("registers", ["sha256:7", "sha384:7", "sha256:0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,17,22"])
def test_banks_and_numbers_of_registers(new_place, tpm, registers):
    provider = create_root(f"tpm:{registers}", new_place())
    wrapped = provider.wrap(Secret(b"k" * 32), CONTEXT)
    again = open_provider(provider.uri, provider.place)
    assert again.unwrap(wrapped, CONTEXT).same_as(Secret(b"k" * 32))
    assert registers in provider.status().detail


def test_what_it_enforces(provider):
    report = conformance.measure(provider, seconds=0.05)
    record(report, against="swtpm 0.7.1")
    found = {probe.name: (probe.outcome, probe.contradicts) for probe in report.probes}
    for name in (
        conformance.ROUND_TRIP,
        conformance.OTHER_CONTEXT,
        conformance.CHANGED_WRAP,
        conformance.FRESH_WRAPS,
        conformance.OTHER_ROOT,
    ):
        assert found[name] == ("enforced", False)
    assert found[conformance.POLICY] == ("enforced", False)
    assert found[conformance.EXTRACTION] == ("not enforced", False)
    assert set(conformance.BEYOND) <= set(found)
    assert report.root_in_process
    assert ("path", False) in {(item.part, item.lasts) for item in report.protections}


def test_status_says_that_it_is_a_program(provider, another):
    status = provider.status()
    assert status.root_in_process
    assert [finding.code for finding in status.findings] == ["simulated-tpm"]


def test_the_root_is_not_in_its_file(provider):
    raw = root_path(provider.place).read_bytes()
    root = bytes(provider.load_root().view())
    assert root not in raw
    assert root.hex().encode() not in raw
    assert stat.S_IMODE(root_path(provider.place).stat().st_mode) == 0o600


def test_never_made_twice(provider):
    with pytest.raises(Conflict):
        create_root(provider.uri, provider.place)


def test_a_root_can_be_brought_and_taken_along(provider, new_place):
    from hermetic.crypto.kdf import Argon2Parameters
    from hermetic.keys.passphrase_wrap import recovery_unwrap

    cheap = Argon2Parameters(memory_kib=65_536, iterations=2, lanes=1)
    document = unlock.export_root(provider, Secret(b"correct horse battery"), cheap)
    _, root = recovery_unwrap(document, Secret(b"correct horse battery"))
    wrapped = provider.wrap(Secret(b"k" * 32), CONTEXT)
    assert "overwritten and removed" in remove_root(provider.uri, provider.place)
    restored = create_root(provider.uri, new_place(provider.root_id), Asked(root=root))
    assert restored.unwrap(wrapped, CONTEXT).same_as(Secret(b"k" * 32))
