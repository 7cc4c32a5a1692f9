"""What this user has seen counts against whatever custody says later."""

from __future__ import annotations

import shutil
import threading

import pytest

from hermetic.audit.note import VerifierKey
from hermetic.domain import create
from hermetic.domain.pinned import PINS_FILE, PinKeeper
from hermetic.domain.pins import Pins, load, save
from hermetic.errors import FormatError, HermeticError, IntegrityError, LogTampered, NotFound, SignatureError
from hermetic.formats import canonical
from hermetic.formats.messages import versions
from hermetic.ids import DataClass
from tests import world as w


def pin_file(world):
    return world.home.domain_config(world.domain) / PINS_FILE


def pins_of(world):
    return load(pin_file(world), world.domain)


def rewrite(world, **changes):
    path = pin_file(world)
    body = canonical.decode(path.read_bytes(), limit=1 << 20)
    path.write_bytes(canonical.encode({**body, **changes}))


@pytest.fixture
def used(world):
    """A domain that was used, with its pins."""
    with world.connect() as connection:
        w.seal(connection)
        w.seal(connection)
        w.open_(connection)
    return world


def test_pins_move_with_every_answer(world):
    with world.connect() as connection:
        sizes = [connection.pins.size]
        w.seal(connection)
        sizes.append(connection.pins.size)
        w.open_(connection)
        sizes.append(connection.pins.size)
    assert sizes == sorted(set(sizes))
    pins = pins_of(world)
    assert pins.size == sizes[-1]
    assert list(pins.versions.values()) == [1]
    with world.connect() as connection:
        assert not connection.pins.first_use
        assert connection.pins.size >= sizes[-1]


def test_a_database_put_back_is_refused(used, tmp_path):
    copy = tmp_path / "older"
    shutil.copytree(used.data, copy)
    with used.connect() as connection:
        w.open_(connection)
    shutil.rmtree(used.data)
    shutil.copytree(copy, used.data)
    with pytest.raises(LogTampered) as refused:
        used.connect()
    assert refused.value.exit_code == 4
    pin_file(used).unlink()
    used.connect().close()


def test_another_log_of_the_same_size_is_refused(used, tmp_path):
    copy = tmp_path / "fork"
    shutil.copytree(used.data, copy)
    with used.connect() as connection:
        w.open_(connection)
    shutil.rmtree(used.data)
    shutil.copytree(copy, used.data)
    pinned = pin_file(used).read_bytes()
    pin_file(used).unlink()
    with used.connect() as connection:  # what the fork's user does elsewhere
        w.seal(connection, "dataset/other", DataClass.INTERNAL)
        w.open_(connection)
    pin_file(used).write_bytes(pinned)
    with pytest.raises(LogTampered):
        used.connect()


def test_a_changed_manifest_key_is_refused(used):
    keys = pins_of(used).manifest_keys
    rewrite(used, manifest_keys=dict.fromkeys(keys, "A" * 43))
    with pytest.raises(SignatureError):
        used.connect()


def test_a_manifest_key_that_came_later_is_refused(used):
    rewrite(used, manifest_keys={w.fresh(): "A" * 43})
    with pytest.raises(SignatureError):
        used.connect()


def test_a_changed_log_key_is_refused(used):
    (text,) = pins_of(used).log_keys
    other = VerifierKey(VerifierKey.parse(text).name, bytes(range(32)))
    rewrite(used, log_keys=[str(other)])
    with pytest.raises(LogTampered):
        used.connect()


def test_a_replaced_domain_secret_is_refused(used):
    rewrite(used, domain_check="00" * 32)
    with pytest.raises(IntegrityError):
        used.connect()


def test_a_whole_other_domain_in_its_place_is_refused(used, tmp_path, monkeypatch):
    """Somebody builds a domain with the same id, with roots and keys of their own."""
    forged = tmp_path / "forged"
    (forged / "project").mkdir(parents=True)
    with monkeypatch.context() as patch:
        patch.setattr(create, "fresh_id", lambda: used.domain)
        home = w.Home(forged / "data", forged / "config")
        create.create_domain(forged / "project", provider_uri="local:insecure-file", project_name="cardio", home=home)
    shutil.rmtree(used.data)
    shutil.copytree(forged / "data" / used.domain, used.data)
    with pytest.raises(IntegrityError):
        used.connect()


def test_an_older_latest_is_refused(used):
    versions_ = dict.fromkeys(pins_of(used).versions, 9)
    rewrite(used, versions=versions_)
    with used.connect() as connection:
        with pytest.raises(IntegrityError, match="version 9 before"):
            w.open_(connection)
        assert w.open_(connection, "dataset/patients@1").released[0].number == 1


def test_an_answer_about_another_version_is_refused(used):
    with used.connect() as connection:
        inner = connection._port
        real = inner.ask

        def lying(request):
            if isinstance(request, versions.OpenVersions):
                return real(versions.OpenVersions(request.request, ("dataset/patients@1",), request.purpose))
            return real(request)

        inner.ask = lying
        for refs in (("dataset/patients@2",), ("dataset/others",), ("dataset/patients@1",) * 2):
            with pytest.raises(IntegrityError):
                w.open_(connection, *refs)


def test_receipts_of_another_log_are_refused(used, tmp_path):
    other = w.World.make(tmp_path / "other", backup=True)
    with used.connect() as connection, other.connect() as foreign:
        receipt = w.begin(foreign).receipt
        with pytest.raises(HermeticError) as refused:
            connection.pins.verified(receipt)
        assert refused.value.exit_code == 4
        mine = w.begin(connection).receipt
        with pytest.raises(IntegrityError):
            connection.pins.verified(type(mine)(mine.generation, mine.index + 1, mine.leaf, mine.proof))
        with pytest.raises(IntegrityError):
            connection.pins.verified(type(mine)(mine.generation, mine.index, mine.leaf + b" ", mine.proof))
    other.close()


# the file


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        b"[]",
        b'{"format":"hermetic-pins/1"}',
        b'{"checkpoint":"","domain":"x","domain_check":"","format":"hermetic-pins/1","generation":-1,"log_keys":[],"manifest_keys":{},"size":0,"versions":{}}',
        b'{"checkpoint":"","domain":"x","domain_check":"","format":"hermetic-pins/1","generation":1,"log_keys":7,"manifest_keys":{},"size":0,"versions":{}}',
        b'{"checkpoint":"","domain":"x","domain_check":"","format":"hermetic-pins/1","generation":1,"log_keys":[],"manifest_keys":{"a":1},"size":0,"versions":{}}',
        b"\xff",
    ],
)
def test_a_damaged_pin_file_is_refused(used, raw):
    pin_file(used).write_bytes(raw)
    with pytest.raises(FormatError):
        used.connect()


def test_pins_of_another_domain_are_refused(used):
    rewrite(used, domain=w.fresh())
    with pytest.raises(FormatError):
        used.connect()


def test_a_checkpoint_that_is_none_is_refused(used):
    rewrite(used, checkpoint="nothing")
    with pytest.raises(IntegrityError):
        used.connect()


def test_pins_come_back_as_they_went(used):
    pins = pins_of(used)
    assert Pins.from_bytes(pins.to_bytes()) == pins
    assert pins.with_checkpoint(1, 1, "smaller") is pins
    asset, number = next(iter(pins.versions.items()))
    assert pins.with_version(asset, number) is pins


def test_several_processes_only_move_them_forward(used):
    one, two = used.connect(), used.connect()
    w.seal(one, "dataset/one", DataClass.INTERNAL)
    one.close()
    ahead = pins_of(used)
    w.open_(two)
    two.close()
    pins = pins_of(used)
    assert pins.size > ahead.size
    assert ahead.versions.items() <= pins.versions.items()


def test_threads_share_a_keeper(used):
    keeper = PinKeeper(pin_file(used), used.domain)
    threads = [threading.Thread(target=lambda at=at: keeper.see_version(w.fresh(), at)) for at in range(1, 20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    keeper.flush()
    assert len(pins_of(used).versions) == 20


def test_many_assets_fit(tmp_path):
    pins = Pins("a" * 26, versions={w.fresh(): 1 for _ in range(120_000)})
    save(tmp_path / PINS_FILE, pins)
    assert load(tmp_path / PINS_FILE, "a" * 26) == pins


def test_without_a_custody_home_the_way_is_told(used):
    shutil.rmtree(used.data)
    with pytest.raises(NotFound) as refused:
        used.connect()
    assert "restore" in refused.value.hint
