"""Another boot state, a TPM that goes away or is another one, changed root files, full TPMs, forks, and several processes at once."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from hermetic.crypto.secret import Secret
from hermetic.errors import ConfigError, FormatError, IntegrityError, KeyServiceUnavailable, Unsupported, UsageError
from hermetic.keys.provider import ProviderState
from hermetic.providers import tpm as tpm_provider
from hermetic.providers.local_root import root_path
from hermetic.providers.registry import create_root, open_provider
from hermetic.providers.tpm_device import DEFAULT, Tpm, connected
from tests.interop.tpm.conftest import URI
from tests.interop.tpm.swtpm import SoftTpm
from tests.unit.providers.contract import CONTEXT

SECRET = Secret(b"k" * 32)
CHILD = """
import sys
from pathlib import Path
from hermetic.crypto.secret import Secret
from hermetic.providers.place import Place
from hermetic.providers.registry import open_provider
uri, home, domain, root, tcti, wrapped = sys.argv[1:]
for _ in range(20):
    provider = open_provider(uri, Place(Path(home), domain, root, settings={"tcti": tcti}))
    assert provider.unwrap(bytes.fromhex(wrapped), b'{"for":"kek"}').same_as(Secret(b"k" * 32))
print("done")
"""


@pytest.fixture
def wrapped(provider):
    return provider.wrap(SECRET, CONTEXT)


class TestBootState:
    def test_what_changed_is_said(self, provider, another, tpm, wrapped):
        tpm.extend(7)
        tpm.extend(0)
        with pytest.raises(KeyServiceUnavailable, match=r"changed: 0 \(firmware\), 7 \(Secure Boot") as caught:
            another().unwrap(wrapped, CONTEXT)
        assert "hermetic key recover" in caught.value.hint
        status = another().status()
        assert status.state is ProviderState.UNREACHABLE
        assert "changed: 0 (firmware), 7 (Secure Boot" in status.detail

    def test_registers_that_were_not_named_may_change(self, provider, another, tpm, wrapped):
        for pcr in (1, 4, 8, 14):
            tpm.extend(pcr)
        assert another().unwrap(wrapped, CONTEXT).same_as(SECRET)

    def test_a_change_back_is_none(self, provider, another, tpm, wrapped):
        """A register is only ever extended; a machine started as before has it as before."""
        tpm.extend(7)
        with pytest.raises(KeyServiceUnavailable):
            another().unwrap(wrapped, CONTEXT)
        tpm.stop()
        tpm.start()
        assert another().unwrap(wrapped, CONTEXT).same_as(SECRET)

    def test_the_other_bank_counts_for_itself(self, new_place, tpm):
        provider = create_root("tpm:sha384:7", new_place())
        tpm.extend(7)
        provider.lock()
        with pytest.raises(KeyServiceUnavailable, match="changed: 7"):
            provider.load_root()

    def test_a_process_notices_within_a_minute(self, provider, tpm, wrapped, clock):
        assert provider.unwrap(wrapped, CONTEXT).same_as(SECRET)
        tpm.extend(7)
        clock.now += tpm_provider.KEEP_MS
        assert provider.unwrap(wrapped, CONTEXT).same_as(SECRET)
        clock.now += 1
        with pytest.raises(KeyServiceUnavailable, match="boot state"):
            provider.unwrap(wrapped, CONTEXT)
        with pytest.raises(KeyServiceUnavailable, match="boot state"):
            provider.unwrap(wrapped, CONTEXT)

    def test_a_clock_that_goes_back_keeps_nothing(self, provider, tpm, wrapped, clock):
        provider.unwrap(wrapped, CONTEXT)
        tpm.extend(7)
        clock.now -= 1
        with pytest.raises(KeyServiceUnavailable):
            provider.unwrap(wrapped, CONTEXT)

    def test_lock_forgets(self, provider, tpm, wrapped):
        provider.unwrap(wrapped, CONTEXT)
        assert provider.lock()
        assert not provider.lock()
        tpm.extend(2)
        with pytest.raises(KeyServiceUnavailable):
            provider.unwrap(wrapped, CONTEXT)

    def test_sealed_anew_after_an_update(self, provider, another, tpm, wrapped):
        root = Secret(bytes(provider.load_root().view()))
        tpm.extend(7)
        recovered = another()
        tpm_provider.reseal(recovered, root)
        assert another().unwrap(wrapped, CONTEXT).same_as(SECRET)
        assert another().status().state is ProviderState.READY

    def test_a_boot_state_that_changes_while_it_is_sealed(self, new_place, tpm, monkeypatch):
        place, real = new_place(), Tpm.seal

        def seal(self, data, selection):
            from tpm2_pytss import ESYS_TR

            made = real(self, data, selection)
            self.esapi.pcr_event(ESYS_TR(7), b"meanwhile")
            return made

        monkeypatch.setattr(Tpm, "seal", seal)
        with pytest.raises(KeyServiceUnavailable, match="does not give back"):
            create_root(URI, place)
        assert not root_path(place).exists()


class TestGone:
    @pytest.mark.parametrize("kill", [True, False])
    def test_a_tpm_that_goes_and_comes_back(self, provider, another, tpm, wrapped, kill):
        tpm.stop(kill=kill)
        with pytest.raises(KeyServiceUnavailable, match="TPM cannot be used"):
            another().unwrap(wrapped, CONTEXT)
        assert another().status().state is ProviderState.UNREACHABLE
        tpm.start()
        assert another().unwrap(wrapped, CONTEXT).same_as(SECRET)

    def test_one_that_stops_within_a_command(self, provider, another, tpm, wrapped):
        with pytest.raises(KeyServiceUnavailable), connected(tpm.tcti) as talking:
            talking._parent()
            tpm.stop(kill=True)
            talking._parent()
        tpm.start()
        assert another().unwrap(wrapped, CONTEXT).same_as(SECRET)

    def test_another_machine(self, provider, another, tmp_path, wrapped):
        other = SoftTpm(tmp_path / "other")
        other.start()
        try:
            with pytest.raises(KeyServiceUnavailable, match="this TPM did not seal root"):
                another(tcti=other.tcti).unwrap(wrapped, CONTEXT)
        finally:
            other.stop()

    def test_a_tpm_that_was_cleared(self, provider, another, tpm, wrapped):
        with tpm.talking() as esapi:
            from tpm2_pytss import ESYS_TR

            esapi.clear(ESYS_TR.LOCKOUT)
        with pytest.raises(KeyServiceUnavailable, match="cleared"):
            another().unwrap(wrapped, CONTEXT)

    def test_no_device(self, another, wrapped, monkeypatch, tmp_path):
        provider = another(tcti=f"device:{tmp_path}/tpmrm0")
        with pytest.raises(KeyServiceUnavailable, match="there is no TPM here"):
            provider.unwrap(wrapped, CONTEXT)

    def test_a_device_of_others(self, another, wrapped, tmp_path):
        if os.geteuid() == 0:
            pytest.skip("root may open every device")
        device = tmp_path / "tpmrm0"
        device.touch(mode=0o000)
        with pytest.raises(KeyServiceUnavailable, match="cannot be opened") as caught:
            another(tcti=f"device:{device}").unwrap(wrapped, CONTEXT)
        assert "tss" in caught.value.hint

    def test_the_device_is_what_is_used_otherwise(self, provider):
        assert open_provider(URI, replace(provider.place, settings={})).tcti == DEFAULT

    def test_nothing_on_stderr(self, provider, another, tpm, wrapped, capfd):
        tpm.extend(7)
        with pytest.raises(KeyServiceUnavailable):
            another().unwrap(wrapped, CONTEXT)
        tpm.stop()
        with pytest.raises(KeyServiceUnavailable):
            another().unwrap(wrapped, CONTEXT)
        assert capfd.readouterr() == ("", "")


class TestFile:
    def test_no_file(self, provider, another, wrapped):
        root_path(provider.place).unlink()
        with pytest.raises(KeyServiceUnavailable, match="does not exist"):
            another().unwrap(wrapped, CONTEXT)

    def test_others_could_read_it(self, provider, another, wrapped):
        root_path(provider.place).chmod(0o644)
        with pytest.raises(IntegrityError, match="open to other users"):
            another().unwrap(wrapped, CONTEXT)

    def test_file_of_another_root(self, provider, another, new_place, wrapped):
        other = create_root(URI, new_place())
        root_path(provider.place).write_bytes(root_path(other.place).read_bytes())
        with pytest.raises(FormatError, match="another root"):
            another().unwrap(wrapped, CONTEXT)

    def test_file_of_another_root_with_our_names_on_it(self, provider, another, new_place, wrapped):
        other = create_root(URI, new_place())
        raw = root_path(other.place).read_bytes().replace(other.root_id.encode(), provider.root_id.encode())
        root_path(provider.place).write_bytes(raw)
        with pytest.raises(FormatError, match="sealed for another root"):
            another().unwrap(wrapped, CONTEXT)

    def test_other_registers_than_the_uri_names(self, provider, new_place):
        for uri in ("tpm:sha256:7", "tpm:sha256:0,2,4,7", "tpm:sha384:0,2,7"):
            with pytest.raises(FormatError):
                open_provider(uri, provider.place).load_root()

    def test_tampered_file(self, provider, another, wrapped):
        path = root_path(provider.place)
        raw = path.read_bytes()
        registers = range(raw.index(b'"pcrs"'), raw.index(b'"private"'))
        for at in range(0, len(raw), 3):
            changed = bytearray(raw)
            changed[at] ^= 1
            path.write_bytes(changed)
            try:
                opened = another().unwrap(wrapped, CONTEXT)
            except (IntegrityError, Unsupported, KeyServiceUnavailable):
                continue
            assert at in registers, raw[at - 10 : at + 10]  # what was noted of the registers is for messages only
            assert opened.same_as(SECRET)

    def test_short_parts(self, provider, another, wrapped):
        path = root_path(provider.place)
        raw = path.read_text()
        for name in ("private", "public"):
            start = raw.index(f'"{name}":"') + len(name) + 4
            end = raw.index('"', start)
            for length in (0, 4, 40):
                path.write_text(raw[: start + length] + raw[end:])
                with pytest.raises((IntegrityError, KeyServiceUnavailable)):
                    another().unwrap(wrapped, CONTEXT)


class TestFull:
    def test_nothing_is_left_in_the_tpm(self, provider, another, tpm, wrapped):
        for _ in range(10):
            another().unwrap(wrapped, CONTEXT)
            another().status()
        assert tpm.objects() == ()

    def test_nothing_is_left_by_failures(self, provider, another, tpm, wrapped):
        tpm.extend(7)
        for _ in range(10):
            with pytest.raises(KeyServiceUnavailable, match="boot state"):
                another().unwrap(wrapped, CONTEXT)
        raw = root_path(provider.place).read_text()
        start = raw.index('"private":"') + 30
        root_path(provider.place).write_text(raw[:start] + ("A" if raw[start] != "A" else "B") + raw[start + 1 :])
        for _ in range(10):
            with pytest.raises(KeyServiceUnavailable):
                another().unwrap(wrapped, CONTEXT)
        assert tpm.objects() == ()

    def test_a_tpm_that_others_filled(self, provider, another, tpm, wrapped):
        with connected(tpm.tcti) as talking:
            for _ in range(3):
                talking._parent()
            talking.flushed.pop_all()  # as a program does that flushes nothing
        with pytest.raises(KeyServiceUnavailable, match="other programs fill it"):
            another().unwrap(wrapped, CONTEXT)


class TestAtOnce:
    def test_two_processes(self, provider, another, tpm, wrapped):
        place = provider.place
        words = [URI, place.home, place.domain, place.root_id, tpm.tcti, wrapped.hex()]
        children = [
            subprocess.Popen([sys.executable, "-c", CHILD, *map(str, words)], stdout=subprocess.PIPE, text=True) for _ in range(2)
        ]
        assert [one.communicate(timeout=120)[0].strip() for one in children] == ["done", "done"]
        assert another().unwrap(wrapped, CONTEXT).same_as(SECRET)

    def test_threads(self, provider, another, wrapped):
        fresh = another()
        with ThreadPoolExecutor(8) as pool:
            assert all(secret.same_as(SECRET) for secret in pool.map(lambda _: fresh.unwrap(wrapped, CONTEXT), range(32)))

    def test_fork(self, provider, another, wrapped):
        fresh = another()
        fresh.unwrap(wrapped, CONTEXT)
        for lock in (False, True):
            pid = os.fork()
            if pid == 0:
                if lock:
                    fresh.lock()
                os._exit(0 if fresh.unwrap(wrapped, CONTEXT).same_as(SECRET) else 1)
            assert os.waitpid(pid, 0)[1] == 0
        assert fresh.unwrap(wrapped, CONTEXT).same_as(SECRET)


@pytest.mark.parametrize(
    "tcti",
    ["cmd:touch /tmp/x", "libtss2-tcti-device.so", "/tmp/evil.so", "pcap:device", "swtpm:host=10.0.0.1", "swtpm", "", "mssim:port=1"],
)
def test_ways_that_are_no_way_to_a_tpm_here(new_place, tcti):
    with pytest.raises(ConfigError, match="no way to a TPM of this machine"):
        open_provider(URI, replace(new_place(), settings={"tcti": tcti}))


def test_unknown_settings(new_place):
    with pytest.raises(UsageError, match="unknown setting 'pin'"):
        open_provider(URI, replace(new_place(), settings={"pin": "1"}))
