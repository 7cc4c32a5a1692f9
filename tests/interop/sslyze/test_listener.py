"""What sslyze 6 sees of the service's listener: TLS 1.3 only, a certificate of the caller's, and none of what old TLS is attacked by.

sslyze lives in an environment of its own and gets an address, a certificate and a key. It looks twice: as somebody without a
certificate, who must get nowhere, and as ana.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
from datetime import datetime
from pathlib import Path

import pytest

from hermetic.crypto import x509
from tests.unit.server import https_world

PYTHON = Path(__file__).parents[3] / ".environments" / "sslyze" / "bin" / "python"
OLD = ("ssl_3_0", "tls_1_0", "tls_1_1", "tls_1_2")
SUITES = {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}
CURVES = {"X25519", "X448", "secp256r1", "secp384r1", "secp521r1"}
ASKED = (
    *("--sslv3", "--tlsv1", "--tlsv1_1", "--tlsv1_2", "--tlsv1_3", "--certinfo", "--compression", "--reneg", "--early_data"),
    *("--resum", "--fallback", "--heartbleed", "--openssl_ccs", "--robot", "--elliptic_curves"),
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    service = https_world.make(tmp_path_factory.mktemp("https") / "world")
    service.enrol("ana")
    with contextlib.closing(service), service.running():
        yield service


def scan(place, folder, *arguments):
    """Have sslyze look at `place`; returns what it says of the one server."""
    out = folder / "scan.json"
    command = [
        PYTHON,
        "-m",
        "sslyze",
        "--mozilla_config",
        "disable",
        "--json_out",
        out,
        *arguments,
        str(place).removeprefix("https://"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert out.exists(), done.stdout + done.stderr
    (server,) = json.loads(out.read_text())["server_scan_results"]
    return server


@pytest.fixture(scope="module")
def nobody(made, tmp_path_factory):
    return scan(made.place, tmp_path_factory.mktemp("scan"), *ASKED)


@pytest.fixture(scope="module")
def ana(made, tmp_path_factory):
    paths = made.paths("ana")
    return scan(made.place, tmp_path_factory.mktemp("scan"), *ASKED, "--cert", paths.chain, "--key", paths.key)


def result(server, name):
    found = server["scan_result"][name]
    assert found["status"] == "COMPLETED", found["error_trace"]
    return found["result"]


def accepted(server, version):
    return {item["cipher_suite"]["name"] for item in result(server, f"{version}_cipher_suites")["accepted_cipher_suites"]}


def test_a_certificate_is_asked_for(nobody, ana):
    """Without one sslyze is hung up on, and gives up while it looks for what the server wants."""
    assert nobody["connectivity_status"] == "ERROR"
    assert "_detect_client_auth_requirement_with_tls_1_3" in nobody["connectivity_error_trace"]
    assert "peer closed the connection" in nobody["connectivity_error_trace"]
    assert nobody["scan_result"] is None
    assert ana["connectivity_result"]["highest_tls_version_supported"] == "TLS_1_3"
    assert ana["connectivity_status"] == ana["scan_status"] == "COMPLETED"


@pytest.mark.parametrize("version", OLD)
def test_old_versions_are_shut_out(ana, version):
    assert result(ana, f"{version}_cipher_suites")["is_tls_version_supported"] is False
    assert accepted(ana, version) == set()


def test_suites_and_curves_are_those_of_tls_1_3(ana):
    assert accepted(ana, "tls_1_3") == SUITES
    assert {item["name"] for item in result(ana, "elliptic_curves")["supported_curves"]} <= CURVES


@pytest.mark.parametrize(
    ("name", "field", "wanted"),
    [
        ("tls_compression", "supports_compression", False),
        ("tls_1_3_early_data", "supports_early_data", False),
        ("session_renegotiation", "client_renegotiations_success_count", 0),
        ("session_renegotiation", "is_vulnerable_to_client_renegotiation_dos", False),
        ("session_resumption", "tls_ticket_successful_resumptions_count", 0),
        ("session_resumption", "session_id_successful_resumptions_count", 0),
        ("heartbleed", "is_vulnerable_to_heartbleed", False),
        ("openssl_ccs_injection", "is_vulnerable_to_ccs_injection", False),
        ("robot", "robot_result", "NOT_VULNERABLE_RSA_NOT_SUPPORTED"),
    ],
)
def test_what_old_tls_is_attacked_by_is_not_there(ana, name, field, wanted):
    assert result(ana, name)[field] == wanted


def test_the_chain_is_the_authoritys(made, ana):
    """Leaf and issuing authority in order, without the root, for the names that were asked for, for a day."""
    (deployment,) = result(ana, "certificate_info")["certificate_deployments"]
    assert deployment["received_chain_has_valid_order"] is True
    leaf, issuing = deployment["received_certificate_chain"]
    (root,) = x509.certificates_in(made.paths("ana").authorities.read_bytes())
    assert issuing["issuer"]["rfc4514_string"] == f"CN={x509.parse(root).subject}"
    assert leaf["issuer"]["rfc4514_string"] == issuing["subject"]["rfc4514_string"]
    assert leaf["subject_alternative_name"] == {"dns_names": ["localhost"], "ip_addresses": ["127.0.0.1"]}
    for one in (leaf, issuing):
        assert (one["public_key"]["ec_curve_name"], one["signature_hash_algorithm"]["name"]) == ("secp256r1", "sha256")
    begins, ends = (datetime.fromisoformat(leaf[name]) for name in ("not_valid_before", "not_valid_after"))
    assert (ends - begins).total_seconds() <= 86_400 + 120


def test_the_table(nobody, ana, record_property):
    """Printed by `make interop-sslyze`."""
    versions = {name[:3].upper() + " " + name[4:].replace("_", "."): accepted(ana, name) for name in (*OLD, "tls_1_3")}
    curves = {item["name"] for item in result(ana, "elliptic_curves")["supported_curves"]}
    lines = {
        **{name: ", ".join(sorted(suites)) or "shut out" for name, suites in versions.items()},
        "certificate": "required" if nobody["connectivity_status"] == "ERROR" else "NOT REQUIRED",
        "curves": ", ".join(sorted(curves)),
        "compression": result(ana, "tls_compression")["supports_compression"],
        "early data": result(ana, "tls_1_3_early_data")["supports_early_data"],
        "renegotiations": result(ana, "session_renegotiation")["client_renegotiations_success_count"],
        "resumptions": result(ana, "session_resumption")["tls_ticket_successful_resumptions_count"],
    }
    record_property("summary", "\n".join(["sslyze 6.3.1 of hermetic serve --listen", *(f"  {key:14} {lines[key]}" for key in lines)]))
    assert [name for name, suites in versions.items() if suites] == ["TLS 1.3"]
