"""Containerfile and manifest of docs/how-to/deploy: what can be known of them without a container engine or a cluster."""

from __future__ import annotations

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import pytest
from ruamel.yaml import YAML

from hermetic.cli.main import root
from tests.docs.pages import ROOT
from tests.docs.test_readme import LINK, anchors

DEPLOY = ROOT / "docs" / "how-to" / "deploy"
PAGES = sorted(DEPLOY.glob("*.md"))
HERMETIC = Path(sys.executable).with_name("hermetic")


@pytest.fixture(scope="module")
def manifest():
    documents = YAML(typ="safe").load_all((DEPLOY / "hermetic.k8s.yaml").read_text(encoding="utf-8"))
    return {document["kind"]: document for document in documents}


@pytest.fixture(scope="module")
def pod(manifest):
    return manifest["StatefulSet"]["spec"]["template"]["spec"]


def parsed(words):
    """Parse what follows `hermetic` as the command does, and run nothing."""
    command, context = root, click.Context(root, info_name="hermetic")
    while isinstance(command, click.Group):
        name, command, words = command.resolve_command(context, list(words))
        context = click.Context(command, parent=context, info_name=name)
    command.parse_args(context, list(words))
    return context


def scripts(pod):
    (script,) = pod["initContainers"][0]["args"]
    return script


def test_every_command_is_one(pod):
    (custody,) = pod["containers"]
    served = parsed(custody["args"]).params
    assert (served["listen"], served["metrics"]) == ("0.0.0.0:8443", "127.0.0.1:9464")
    script = scripts(pod).replace("\\\n", " ").replace("|\n", "|")
    asked = [
        shlex.split(line[line.index("hermetic ") :].partition(" | ")[0])[1:] for line in script.splitlines() if "hermetic init" in line
    ]
    asked += [shlex.split(found) for found in re.findall(r"hermetic (identity [^|\n]+)", script)]
    assert [words[:2] for words in asked] == [["init", "--project"], ["identity", "authority"], ["identity", "authority"]]
    for words in asked:
        parsed(words)
    with pytest.raises(click.ClickException):
        parsed(["serve", "--lisen=0.0.0.0:1"])
    told = [re.findall(r"(?m)^    .*hermetic(?::1| --|-0 -- hermetic)? ((?:serve|identity) .*)$", page.read_text()) for page in PAGES]
    assert [len(found) for found in told] == [1, 1]
    for found in told:
        parsed(shlex.split(found[0]))


def test_ports_names_and_places_agree(manifest, pod):
    (custody,), (set_up,) = pod["containers"], pod["initContainers"]
    ((port),) = custody["ports"]
    ((published),) = manifest["Service"]["spec"]["ports"]
    assert published["targetPort"] == port["name"] == custody["livenessProbe"]["tcpSocket"]["port"]
    assert published["port"] == port["containerPort"] == manifest["NetworkPolicy"]["spec"]["ingress"][0]["ports"][0]["port"] == 8443
    name = f"{manifest['Service']['metadata']['name']}.{manifest['Namespace']['metadata']['name']}.svc"
    assert f"--name={name}" in custody["args"]
    labels = manifest["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    selectors = [manifest[kind]["spec"]["selector"]["matchLabels"] for kind in ("PodDisruptionBudget", "StatefulSet")]
    assert [*selectors, manifest["Service"]["spec"]["selector"], manifest["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"]] == [
        labels
    ] * 4
    claims = [claim["metadata"]["name"] for claim in manifest["StatefulSet"]["spec"]["volumeClaimTemplates"]]
    volumes = {volume["name"] for volume in pod["volumes"]} | set(claims)
    for container in (custody, set_up):
        assert {mount["name"] for mount in container["volumeMounts"]} <= volumes
    assert custody["image"] == set_up["image"]


def test_it_is_confined(manifest, pod):
    asked = pod["securityContext"]
    assert (asked["runAsNonRoot"], asked["seccompProfile"]["type"]) == (True, "RuntimeDefault")
    assert f"--uid {asked['runAsUser']}" in (DEPLOY / "Containerfile").read_text()
    for container in (*pod["containers"], *pod["initContainers"]):
        allowed = container["securityContext"]
        assert allowed == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    (secret,) = [volume["secret"] for volume in pod["volumes"] if "secret" in volume]
    assert secret["defaultMode"] == 0o440
    assert manifest["PodDisruptionBudget"]["spec"]["maxUnavailable"] == 0


def test_the_containerfile_names_what_is_there():
    text = (DEPLOY / "Containerfile").read_text(encoding="utf-8")
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    (wanted,) = re.findall(r"'/source\[([a-z,]+)\]'", text)
    assert set(wanted.split(",")) <= extras
    copied = [word for line in re.findall(r"(?m)^COPY (?!--from)(.*) \S+$", text) for word in line.split()]
    assert copied
    assert all((ROOT / word).exists() for word in copied)
    last = re.split(r"(?m)^FROM ", text)[-1]
    assert re.search(r"(?m)^USER 10001:10001$", last)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        target, _, heading = link.partition("#")
        place = (page.parent / target).resolve()
        assert place.exists(), link
        assert not heading or heading in anchors(place), link
    index = (ROOT / "docs" / "index.md").read_text(encoding="utf-8")
    assert f"how-to/deploy/{page.name}" in index


@pytest.fixture
def places(isolated_environment, pod):
    """The set-up script, the arguments and the environment of the manifest, with places of this machine."""
    from tests import postgres

    server = postgres.shared()
    database = server.database()
    volume, private, secrets = (isolated_environment / name for name in ("volume", "private", "secrets"))
    for folder in (volume, private, secrets):
        folder.mkdir(mode=0o700)
    for name in ("pgpass", "secret-id", "database-ca.pem", "openbao-ca.pem"):
        (secrets / name).write_text("127.0.0.1:*:*:*:none\n")
    script = scripts(pod)
    script = re.sub(r"--root openbao:.*?\n(?=hermetic identity)", "--root local:insecure-file\n", script, flags=re.DOTALL)
    script = re.sub(r"'postgresql://[^']*'", shlex.quote(str(server.tcp(database))), script)
    here = {"/var/lib/hermetic": str(volume), "/run/hermetic": str(private), "/secrets": str(secrets)}

    def moved(text):
        for place, other in here.items():
            text = text.replace(place, other)
        return text

    environment = {item["name"]: moved(item["value"]) for item in pod["initContainers"][0]["env"]}
    path = os.pathsep.join([str(HERMETIC.parent), os.environ["PATH"]])
    kept = {name: os.environ[name] for name in ("HOME", "PYTHONPATH") if name in os.environ}
    yield moved(script), volume / "clinic", kept | environment | {"PATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    server.drop(database)


def test_set_up_service_and_probe_work_in_order(places, pod):
    """Twice, as after a restart: the second time nothing is made anew."""
    script, project, environment = places
    for _ in range(2):
        done = subprocess.run(["/bin/sh", "-euc", script], env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    listed = subprocess.run(
        [HERMETIC, "identity", "authority", "ls", "--json"], cwd=project, env=environment, capture_output=True, text=True, check=True
    )
    assert listed.stdout.count('"intermediate"') == 1
    enrol = ["identity", "enrol", "scorer", "--kind", "workload", "--role", "service", "--reason", "scores"]
    told = subprocess.run([HERMETIC, *enrol], cwd=project, env=environment, capture_output=True, text=True, check=True)
    (next_step,) = re.findall(r"`hermetic ([^`]*)`", told.stdout + told.stderr)
    assert parsed(shlex.split(next_step)).params["kind"] == "workload"
    (custody,) = pod["containers"]
    ports = []
    for _ in range(2):
        with socket.create_server(("127.0.0.1", 0)) as free:
            ports.append(free.getsockname()[1])
    words = [word.replace("0.0.0.0:8443", f"127.0.0.1:{ports[0]}").replace("9464", str(ports[1])) for word in custody["args"]]
    serving = subprocess.Popen([HERMETIC, *words], cwd=project, env=environment, stderr=subprocess.PIPE, text=True)
    try:
        line = serving.stderr.readline()
        while line and "custody of" not in line:
            line = serving.stderr.readline()
        assert f"https://127.0.0.1:{ports[0]}" in line
        probe = [word.replace("9464", str(ports[1])) for word in custody["readinessProbe"]["exec"]["command"]]
        asked = subprocess.run([sys.executable, *probe[1:]], env=environment, capture_output=True, text=True, check=False)
        assert asked.returncode == 0, asked.stderr
        for _ in range(3):  # the liveness probe
            socket.create_connection(("127.0.0.1", ports[0]), 10).close()
    finally:
        serving.send_signal(signal.SIGTERM)
        rest = serving.stderr.read()
        serving.stderr.close()
        code = serving.wait(60)
    assert code == 0, rest
    assert "rror" not in rest, rest
    after = subprocess.run([sys.executable, *probe[1:]], env=environment, capture_output=True, text=True, check=False)
    assert after.returncode == 1
