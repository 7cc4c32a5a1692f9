"""The database server of a service is away, stands still, is slow, full, or another one: nothing is handed out off the record.

The service is never started again, and goes on by itself when the server is there; leases carry readers meanwhile. `make soak` sets
HERMETIC_OUTAGE_S=60: away for a minute, standing still for a third of it.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import shutil
import time

import psycopg
import pytest

from hermetic.domain.connect import connect
from hermetic.domain.custody_place import ServicePlace
from hermetic.domain.service import ServiceCustody
from hermetic.errors import Conflict, DatabaseUnavailable, LeaseEnded, LogTampered, NotAuthenticated, StorageError
from hermetic.formats.messages.catalogue import ListAssets
from hermetic.formats.messages.greeting import Hello
from hermetic.formats.messages.identity import ListAuthorities, RetireAuthority, RevokeCredential, RotateAuthority
from hermetic.ids import Purpose
from tests import postgres
from tests import world as w
from tests.faults import outage as o
from tests.faults.cut_proxy import Proxy
from tests.unit.server import https_world

AWAY_S = float(os.environ.get("HERMETIC_OUTAGE_S", "0"))
SMALL = 48 * 1024 * 1024


@pytest.fixture(scope="module")
def server():
    one = postgres.Server()
    yield one
    one.remove()


@pytest.fixture(scope="module")
def disk(server):
    """A table space that is soon full, None where nothing can be mounted."""
    if not o.can_mount():
        yield None
        return
    with o.small_disk(server, "small", SMALL) as folder:
        yield folder


@pytest.fixture(scope="module")
def network(server):
    proxy = Proxy([server.port])
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
def made(server, disk, network, tmp_path_factory):
    place = server.database()
    if disk is not None:
        server.sql(None, f"ALTER DATABASE {place.name} SET TABLESPACE small")
    with o.outage(
        tmp_path_factory.mktemp("outage") / "world", f"postgresql://{place.user}@127.0.0.1:{network.port}/{place.name}"
    ) as one:
        one.name = place.name
        yield one


@pytest.fixture
def pool():
    with concurrent.futures.ThreadPoolExecutor() as one:
        yield one


def is_away(made):
    """Whoever asks is told that the database is away, what to do, and by the exit code that trying again may help."""
    with pytest.raises(DatabaseUnavailable, match="away") as caught:
        made.open()
    assert (caught.value.exit_code, bool(caught.value.hint)) == (6, True)


def test_away_and_back(made, server):
    (held, its), (long_held, long_its) = made.lease(), made.lease()
    server.kill()
    try:
        is_away(made)
        with pytest.raises(StorageError):
            made.service.custody.check_ready()
        its.now += held.lease.check_ms
        held.key()
        long_its.now += held.lease.offline_ms
        with pytest.raises(LeaseEnded, match="out of reach"):
            long_held.key()
        time.sleep(AWAY_S)
    finally:
        server.start()
    made.open()
    made.service.custody.check_ready()
    held.key()
    its.now += held.lease.offline_ms  # counted from what was just confirmed
    held.key()
    made.check()


def test_a_server_that_stands_still(made, server, pool):
    """Who asks waits, and is answered then; of those who need a connection or a turn, some are told so after ten seconds."""
    told = (DatabaseUnavailable, Conflict) if AWAY_S else ()
    with o.stalled(server):
        asked = [pool.submit(made.open) for _ in range(3)]
        concurrent.futures.wait(asked, timeout=AWAY_S / 3 or 0.2)
        assert not all(each.done() for each in asked)
    for each in asked:
        with contextlib.suppress(*told):
            each.result(60)
    made.open()
    made.check()


def test_a_server_that_stutters(made, server, pool):
    asked = pool.submit(lambda: [made.open() for _ in range(6)])
    while not asked.done():
        with o.stalled(server):
            concurrent.futures.wait([asked], timeout=0.02)
        concurrent.futures.wait([asked], timeout=0.02)
    assert len(asked.result()) == 6
    made.check()


def test_a_network_to_the_server_that_is_silent_then_gone(made, network, pool):
    network.stall()
    asked = pool.submit(made.open)
    concurrent.futures.wait([asked], timeout=0.2)
    assert not asked.done()
    network.resume()
    asked.result(60)
    network.stall()
    asked = pool.submit(made.open)
    concurrent.futures.wait([asked], timeout=0.1)
    network.cut()
    network.resume()
    with contextlib.suppress(StorageError):  # before anything was begun it connects anew, later nobody can know
        asked.result(60)
    made.open()
    made.check()


def test_a_full_disk(made, disk):
    if disk is None:
        pytest.skip("a small file system needs root")
    ballast = o.fill(disk)
    try:
        with pytest.raises(StorageError, match="disk of the database server is full") as caught:
            for _ in range(500):
                made.open()
        assert (caught.value.exit_code, "free some space" in str(caught.value.hint)) == (1, True)
        assert made.port.ask(ListAssets()).assets  # what writes nothing goes on
    finally:
        ballast.unlink()
    made.open()
    made.seal()
    made.check()


@pytest.mark.skipif(not AWAY_S or not o.can_mount(), reason="a server of its own: make soak, as root")
def test_a_full_disk_of_the_servers_log(tmp_path):
    """PostgreSQL then stops by itself, again and again: it is away, until there is space."""
    server = postgres.Server("min_wal_size = 32MB")
    with contextlib.ExitStack() as undo:
        undo.callback(server.remove)
        folder = undo.enter_context(o.small_log(server, 80 * 1024 * 1024))
        made = undo.enter_context(o.outage(tmp_path / "world", str(server.tcp(server.database()))))
        made.open()
        server.sql(None, "CREATE TABLE public.filled ()")
        refused = 0
        for _ in range(200):
            ballast = o.fill(folder)
            with contextlib.suppress(psycopg.OperationalError):
                server.sql(None, "INSERT INTO public.filled DEFAULT VALUES", "SELECT pg_switch_wal()")
            try:
                made.open()
            except StorageError:
                refused += 1
            if refused == 3:
                break
        assert refused == 3
        ballast.unlink()
        until_it_answers(server)
        made.open()
        made.seal()
        made.check()


def until_it_answers(server):
    """It starts again by itself, or has given up and has to be started."""
    for _ in range(600):
        if server._process.poll() is not None:
            server.start()
        with contextlib.suppress(psycopg.Error):
            server.sql(None, "CREATE TEMPORARY TABLE it (it int)")
            return
        time.sleep(0.05)  # nobody tells
    raise AssertionError("the server does not come back")


@pytest.mark.parametrize("where", [f"ROLE {postgres.USER}", "DATABASE {name}", "SYSTEM"])
def test_commits_that_nobody_waits_for(made, server, where):
    """Whatever role, database or server say of synchronous_commit, our commits are waited for."""
    where = where.format(name=made.name)
    set_to(made, server, where, "synchronous_commit", "off")
    try:
        with made.custodian.database.write(None) as session:
            asked = session.connection.exec_driver_sql("SELECT current_setting('synchronous_commit')").scalar_one()
        assert asked == "on"
        made.open()
    finally:
        set_to(made, server, where, "synchronous_commit", None)


@pytest.mark.parametrize("name", ["fsync", "full_page_writes"])
def test_a_server_that_stops_syncing(made, server, name):
    """It is refused from the next transaction on, and taken again when it syncs."""
    set_to(made, server, "SYSTEM", name, "off")
    try:
        with pytest.raises(StorageError, match=f"{name}=off"):
            made.open()
    finally:
        set_to(made, server, "SYSTEM", name, None)
    made.open()
    made.check()


def set_to(made, server, where, name, value):
    """Change a setting; return once new connections have it, and let the service make new ones."""
    change = f"SET {name} = {value}" if value else f"RESET {name}"
    server.sql(None, f"ALTER {where} {change}")
    if where == "SYSTEM":
        server.sql(None, "SELECT pg_reload_conf()")
        while server.sql(None, f"SHOW {name}") != [(value or "on",)]:
            pass
    made.custodian.database.close()


@pytest.fixture
def replicas(made):
    """Two services on one database, and a balancer in front that leaves TLS alone: ports (first, second, either)."""
    root = made.service.world.root
    with connect(made.service.world.project, home=made.service.world.home) as second, contextlib.ExitStack() as undo:
        first = made.service.place.port
        other = undo.enter_context(made.service.running(custody=ServiceCustody(second.port)))
        ports = first, other.place.port
        proxy = Proxy(ports)
        undo.callback(proxy.close)
        assert root.exists()
        yield second, [ServicePlace(https_world.HOST, port) for port in (*ports, proxy.port)]


def test_two_services_while_credentials_end_at_the_other(made, replicas):
    """What ends at one ends at both with the next request, on connections that are open and on new ones."""
    second, places = replicas
    service = made.service
    for name in ("ben", "cleo", "dora"):
        service.enrol(name)
    ports = {name: [service.port(name, place) for place in places] for name in ("ben", "cleo", "dora")}
    for port in [each for group in ports.values() for each in group]:
        port.ask(Hello())
    second.ask(RevokeCredential("ben", "test"))
    ends(service, places, ports, "ben")
    goes_on(ports["cleo"])
    second.ask(RotateAuthority(root=False, reason="test"))
    goes_on(ports["cleo"])
    service.certify("dora")
    new = [service.port("dora", place) for place in places]
    goes_on(new)
    old = next(row for row in second.ask(ListAuthorities()).authorities if row.kind == "intermediate")
    made.plain.ask(RetireAuthority(old.id, "test"))
    ends(service, places, ports, "cleo")
    goes_on(new)
    service.certify("ana")  # hers was of the old one


def ends(service, places, ports, name):
    for port in (*ports[name], *(service.port(name, place) for place in places)):
        with pytest.raises(NotAuthenticated):
            port.ask(Hello())


def goes_on(ports):
    for port in ports:
        w.open_(port, o.NAME, purpose=Purpose.TRAIN)


@pytest.fixture
def pair(tmp_path):
    """A primary and its standby, and a service that knows both."""
    with contextlib.ExitStack() as undo:
        primary = postgres.Server()
        undo.callback(primary.remove)
        place = primary.database()
        standby = o.Standby(primary)
        undo.callback(standby.remove)
        url = f"postgresql://{place.user}@127.0.0.1:{primary.port},127.0.0.1:{standby.port}/{place.name}"
        yield undo.enter_context(o.outage(tmp_path / "world", url)), primary, standby


def test_a_failover(pair, tmp_path):
    """A standby that lagged is not gone on with, by whoever saw more; one that is synchronous has it all (in the long run)."""
    made, primary, standby = pair
    caught_up(primary, standby)
    standby.stop()
    made.connection.ask(ListAssets())
    w.open_(made.connection, o.NAME)
    made.open()
    made.connection.pins.flush()
    size = made.plain.ask(Hello()).checkpoint
    primary.kill()
    is_away(made)
    standby.start()
    is_away(made)  # it takes no writes yet
    standby.promote()
    with pytest.raises(LogTampered, match="standby that lagged") as caught:
        made.open()
    assert (caught.value.exit_code, "hermetic restore" in str(caught.value.hint)) == (4, True)
    with pytest.raises(LogTampered, match="were durable"):
        made.service.custody.check_ready()
    with pytest.raises(LogTampered, match="your pins saw"):
        connect(made.service.world.project, home=made.service.world.home)
    goes_on_without_pins(made, tmp_path)
    with pytest.raises(LogTampered):
        made.open()
    standby.stop()
    primary.start()
    assert made.plain.ask(Hello()).checkpoint == size
    made.open()
    if AWAY_S:
        fails_over_whole(made, primary, standby)
    made.check()


def fails_over_whole(made, primary, standby):
    """A standby that has everything is gone on with, and what was leased meanwhile is confirmed by it."""
    standby.rebuild(primary)
    primary.sql(None, "ALTER SYSTEM SET synchronous_standby_names = '*'")
    primary.sql(None, "SELECT pg_reload_conf()")
    while primary.sql(None, "SELECT sync_state FROM pg_stat_replication") != [("sync",)]:
        time.sleep(0.02)  # nobody tells when a standby counts
    held, clock = made.lease()
    primary.kill()
    is_away(made)
    clock.now += held.lease.check_ms
    held.key()
    standby.promote()
    clock.now += held.lease.check_ms
    held.key()
    made.open()
    made.seal()


def goes_on_without_pins(made, tmp_path):
    """Somebody who never saw more works on the other server, until its log is the longer one: it stays another one."""
    copy = tmp_path / "copy"
    shutil.copytree(made.service.world.root, copy, symlinks=True)
    for pins in copy.glob("home/config/*/pins.json"):
        pins.unlink()
    with w.World(copy).connect() as connection:
        for _ in range(4):
            w.open_(connection.port, o.NAME)


def caught_up(primary, standby):
    """Wait until the standby has everything."""
    (want,) = primary.sql(None, "SELECT pg_current_wal_lsn()")[0]
    while standby.sql(None, f"SELECT pg_last_wal_replay_lsn() >= '{want}'") != [(True,)]:
        time.sleep(0.02)  # nobody tells
