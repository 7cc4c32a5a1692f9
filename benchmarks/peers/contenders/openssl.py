"""openssl enc: AES-256-CTR, no authentication at all; it has no authenticated mode for files."""

import subprocess

KEY = ("-K", "00" * 32, "-iv", "00" * 16)  # of a benchmark: it protects nothing


def seal(folder, _variant):
    return lambda: _run("-e", folder / "weights.safetensors", folder / "sealed")


def open(folder, _variant):  # noqa: A001
    return lambda: _run("-d", folder / "sealed", folder / "back")


def _run(way, source, target):
    subprocess.run(["openssl", "enc", way, "-aes-256-ctr", *KEY, "-in", source, "-out", target], check=True)
