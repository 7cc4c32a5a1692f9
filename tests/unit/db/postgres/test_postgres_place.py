"""What stands for a server in config.yaml, and what of libpq's environment is refused."""

from __future__ import annotations

import psycopg
import pytest

from hermetic.db.postgres.place import PostgresPlace, check_environment
from hermetic.errors import ConfigError, UsageError


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://db.example.org/hermetic",
        "postgresql://ana@db.example.org:6432/hermetic?sslrootcert=/etc/ssl/ca.pem",
        "postgresql:///hermetic?host=/run/postgresql",
        "postgresql://ana@/hermetic?host=/run/postgresql&port=5433",
        "postgresql://[::1]:5433/hermetic?sslmode=disable",
        "postgresql://127.0.0.1/hermetic",
        "postgresql://ana@db1.example.org,db2.example.org:6432,[fd00::1]:5433/hermetic",
    ],
)
def test_a_url_is_read_and_written_alike(url):
    place = PostgresPlace.parse(url)
    assert str(place) == url
    assert PostgresPlace.parse(str(place)) == place


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("postgresql://ana:geheim@db/h", "never holds a password"),
        ("postgresql://db/h?password=geheim", "never holds a password"),
        ("postgresql://db/h?sslpassword=geheim", "never holds a password"),
        ("mysql://db/h", "postgresql://HOST/DATABASE"),
        ("postgresql://db/", "names a database"),
        ("postgresql:///h", "names one host"),
        ("postgresql://a,/h", "names one host"),
        ("postgresql://a,b:99999/h", "port"),
        ("postgresql://a,a/h", "each once"),
        ("postgresql://a,[/h", "postgresql://HOST"),
        ("postgresql://a,b/h?host=/run", "names one host"),
        ("postgresql:///h?host=a,b", "names one host"),
        ("postgresql://localhost,b/h?sslmode=prefer", "needs TLS"),
        ("postgresql://db/h?host=/run", "names one host"),
        ("postgresql://db/h?options=-cfsync%3Doff", "options"),
        ("postgresql://db/h?hostaddr=10.0.0.1", "hostaddr"),
        ("postgresql://db/h?service=x", "service"),
        ("postgresql://db/h?sslmode=require", "needs TLS"),
        ("postgresql://db/h?sslmode=disable", "needs TLS"),
        ("postgresql://db/h?sslmode=perhaps", "sslmode is one of"),
        ("postgresql://10.1.2.3/h?sslmode=verify-ca", "needs TLS"),
        ("postgresql://db/h?sslrootcert=ca.pem", "absolute"),
        ("postgresql://db/h?user=a&user=b", "twice"),
        ("postgresql://db:99999/h", "port"),
        ("postgresql://db/h x", "postgresql://HOST/DATABASE"),
        ("postgresql://db/h#x", "postgresql://HOST/DATABASE"),
        ("", "postgresql://HOST/DATABASE"),
    ],
)
def test_other_places_are_refused_without_repeating_them(url, says):
    with pytest.raises(UsageError, match=says) as caught:
        PostgresPlace.parse(url)
    assert "geheim" not in f"{caught.value} {caught.value.hint}"


def test_another_machine_is_reached_over_verified_tls_only():
    assert "sslmode='verify-full'" in PostgresPlace.parse("postgresql://db.example.org/h").conninfo()
    assert "sslmode='prefer'" in PostgresPlace.parse("postgresql://127.0.0.1/h").conninfo()
    assert not PostgresPlace.parse("postgresql://localhost.example.org/h").local
    assert "sslmode='verify-full'" in PostgresPlace.parse("postgresql://127.0.0.1,db.example.org/h").conninfo()


def test_of_several_hosts_the_one_that_takes_writes():
    said = psycopg.conninfo.conninfo_to_dict(PostgresPlace.parse("postgresql://db1,db2:5433/h").conninfo())
    assert (said["host"], said["port"], said["target_session_attrs"]) == ("db1,db2", "5432,5433", "read-write")


def test_a_file_with_a_quote_in_its_name_stays_one_setting():
    place = PostgresPlace.parse("postgresql://db/h?sslrootcert=/a'%20sslmode%3Ddisable%20x%3D'\\")
    said = psycopg.conninfo.conninfo_to_dict(place.conninfo())
    assert (said["sslmode"], said["sslrootcert"]) == ("verify-full", "/a' sslmode=disable x='\\")


@pytest.mark.parametrize("name", ["PGHOSTADDR", "PGSERVICE", "PGPASSWORD", "PGSSLROOTCERT", "PGSSLCRL", "PGSSLCRLDIR"])
def test_environment_that_would_lead_elsewhere_is_refused(name):
    check_environment({name: ""})
    with pytest.raises(ConfigError, match=name) as caught:
        check_environment({name: "geheim"})
    assert "geheim" not in f"{caught.value} {caught.value.hint}"


def test_environment_that_is_overridden_changes_nothing(monkeypatch, database):
    for name, value in {
        "PGHOST": "/nowhere",
        "PGPORT": "1",
        "PGDATABASE": "postgres",
        "PGUSER": "admin",
        "PGOPTIONS": "-c fsync=off",
    }.items():
        monkeypatch.setenv(name, value)
    database.close()
    with database.read(None) as session:
        row = session.connection.exec_driver_sql("SELECT current_user, current_database(), current_setting('fsync')").one()
    assert row == ("custody", database.place.name, "on")
