"""age, the program: X25519 recipient, one thread."""

import subprocess


def seal(folder, _variant):
    public = _key(folder)
    return lambda: subprocess.run(["age", "-r", public, "-o", folder / "sealed", folder / "weights.safetensors"], check=True)


def open(folder, _variant):  # noqa: A001
    return lambda: subprocess.run(["age", "-d", "-i", folder / "age.key", "-o", folder / "back", folder / "sealed"], check=True)


def _key(folder):
    key = folder / "age.key"
    if not key.exists():
        subprocess.run(["age-keygen", "-o", key], check=True, capture_output=True)
    return subprocess.run(["age-keygen", "-y", key], check=True, capture_output=True, text=True).stdout.strip()
