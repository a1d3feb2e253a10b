"""Versions of what decides a number."""

import platform
from importlib import metadata

from bora_trainer import __version__

PACKAGES = ("torch", "transformers", "peft")


def versions() -> dict[str, str]:
    """By name, without importing anything: bora, python and the packages that compute."""
    found = {"bora": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "missing"
    return found
