"""Writes an image's bill of materials, CycloneDX 1.5 as JSON, from what is installed in it. Standard library only.

Debian packages are read from the final image's dpkg database, Python packages from an environment's metadata, and npm's
from the record that npm keeps of what it installed (`npm sbom` asks for the pruned packages of developers as well). No
time and no serial number: the same image has the same bill.
"""

import argparse
import json
from base64 import b64decode
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path
from typing import Any
from urllib.parse import quote

Component = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes an image's bill of materials.")
    parser.add_argument("--name", required=True, help="of the image")
    parser.add_argument("--dpkg-status", type=Path, required=True, help="/var/lib/dpkg/status of the final image")
    parser.add_argument("--site-packages", type=Path, help="of a Python environment in it")
    parser.add_argument("--npm", type=Path, help="a folder with node_modules in it")
    parser.add_argument("--node", help="the version of the Node in it")
    options = parser.parse_args()

    components = list(debian(options.dpkg_status.read_text(encoding="utf-8")))
    if options.site_packages is not None:
        components += python(options.site_packages)
    if options.npm is not None:
        components += npm(options.npm)
    if options.node is not None:
        components.append(component("generic", "node", options.node.removeprefix("v")))
    bill = {
        "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {"bom-ref": options.name, "type": "container", "name": options.name}},
        "components": [one for _, one in sorted({one["bom-ref"]: one for one in components}.items())],
    }
    print(json.dumps(bill, indent=1))


def component(kind: str, name: str, version: str, qualifiers: str = "") -> Component:
    """`kind` is a package URL's type, with its namespace; https://github.com/package-url/purl-spec."""
    purl = f"pkg:{kind}/{quote(name)}@{quote(version, safe='')}{qualifiers}"
    return {"bom-ref": purl, "type": "library", "name": name, "version": version, "purl": purl}


def debian(status: str) -> Iterator[Component]:
    """Installed packages of a dpkg database: paragraphs of `Field: value`; a line with a blank first goes on."""
    for paragraph in status.split("\n\n"):
        lines = [line.partition(": ") for line in paragraph.splitlines() if not line.startswith(" ")]
        fields = {name: value for name, _, value in lines}
        if fields.get("Status") == "install ok installed":
            arch = f"?arch={fields['Architecture']}&distro=debian-12"
            yield component("deb/debian", fields["Package"], fields["Version"], arch)


def python(site_packages: Path) -> Iterator[Component]:
    """Every distribution in an environment; its interpreter is a package of Debian."""
    for found in distributions(path=[str(site_packages)]):
        yield component("pypi", found.metadata["Name"].lower().replace("_", "-"), found.version)


def npm(root: Path) -> Iterator[Component]:
    """Packages of npm's record that are there, in the version that it says; links are our own packages."""
    record = json.loads((root / "node_modules/.package-lock.json").read_text(encoding="utf-8"))["packages"]
    for path, entry in record.items():
        manifest = root / path / "package.json"
        if entry.get("link") or "node_modules/" not in path or not manifest.exists():
            continue
        version = json.loads(manifest.read_text(encoding="utf-8"))["version"]
        if version != entry["version"]:
            raise SystemExit(f"{path} is {version}; npm's record says {entry['version']}")
        one = component("npm", path.rpartition("node_modules/")[2], version)
        algorithm, _, digest = entry["integrity"].partition("-")
        hashes = [{"alg": algorithm.upper().replace("SHA", "SHA-"), "content": b64decode(digest).hex()}]
        yield {**one, "hashes": hashes}


if __name__ == "__main__":
    main()
