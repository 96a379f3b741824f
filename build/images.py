#!/usr/bin/env python3
"""Writes the image archives. Called by build/images.sh: images.py VERSION TIME PACKAGES OUTPUT.

An image is one layer: the project's program, the libraries that it and its helpers name (and that those name in turn), the public
root certificates, and two users. There is no shell in it, no package manager and no interpreter. Of each package that a file comes
from, the licence is there too, and the package's record where vulnerability scanners look for it (/var/lib/dpkg/status.d).

The archive is that of `docker save`: manifest.json names the configuration and the layer. The same input makes the same bytes.
"""
import hashlib
import io
import json
import os
import platform
import re
import subprocess
import sys
import tarfile
import time

VERSION, TIME, PACKAGES, OUTPUT = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]

IMAGES = {
    "superserve-sidecar": {
        "title": "Superserve sidecar",
        "description": "The egress proxy beside a sandbox: swaps stand-ins for credentials.",
        "program": {"usr/bin/superserve-sidecar": "artifacts/bin/superserve-sidecar"},
        "links": {},
        # The rules of a pod's network are installed with it.
        "helpers": ["usr/sbin/nft"],
        "env": [],
    },
    "superserve-operator": {
        "title": "Superserve operator",
        "description": "Admits sandboxes, feeds their sidecars, and says what it found.",
        "program": {"usr/lib/superserve": "artifacts/publish/operator"},
        "links": {"usr/bin/superserve-operator": "../lib/superserve/superserve-operator"},
        "helpers": [],
        # No diagnostics port into a process that reads credentials, and the collector that is sparing with memory.
        "env": ["DOTNET_EnableDiagnostics=0", "DOTNET_gcServer=0"],
    },
}

# Loaded by its name while a program runs, so that no file says that it needs it: .NET's cryptography is OpenSSL's.
CRYPTOGRAPHY = "libssl.so.3"

# What the runtime brings for debuggers and tracers, which the image has not; the tracer's library would need one more package.
UNUSED = re.compile(r"(\.pdb|\.xml|^createdump|^libcoreclrtraceptprovider\.so|^libmscordaccore\.so|^libmscordbi\.so)$")

PASSWD = b"root:x:0:0:root:/:/usr/sbin/nologin\nnonroot:x:65532:65532:nonroot:/:/usr/sbin/nologin\n"
GROUP = b"root:x:0:\nnonroot:x:65532:\n"


def read(path):
    with open(path, "rb") as file:
        return file.read()


def under_usr(path):
    """A file's one place, whether its package says /lib or /usr/lib: in the image /lib is a link."""
    return path if re.match("(etc|usr|var)/", path) else "usr/" + path


class Packages:
    """The unpacked packages, one folder each."""

    def __init__(self, folder):
        self.files = {}
        self.libraries = {}
        for package in sorted(os.listdir(folder)):
            top = os.path.join(folder, package)
            for directory, _, names in os.walk(top):
                for name in names:
                    source = os.path.join(directory, name)
                    path = under_usr(os.path.relpath(source, top))
                    self.files[path] = (package, source)
                    # The loader's own folder; what lies deeper is loaded by its path.
                    if re.fullmatch(r"usr/lib/\w+-linux-gnu/[^/]+\.so[.0-9]*", path):
                        self.libraries[name] = path

    def find(self, path):
        if path not in self.files:
            sys.exit(f"No package has {path}: build/images.sh says which are fetched.")
        return self.files[path]

    def find_library(self, name):
        if name not in self.libraries:
            sys.exit(f"A program needs {name}, which no package has: build/images.sh says which are fetched.")
        return self.libraries[name]


def elf_headers(path):
    """The libraries that a program or library needs, and the loader that starts it."""
    if read(path)[:4] != b"\x7fELF":
        return [], None
    text = subprocess.run(["readelf", "--wide", "--dynamic", "--program-headers", path], check=True, capture_output=True, text=True).stdout
    loader = re.search(r"Requesting program interpreter: /(\S+?)\]", text)
    return re.findall(r"\(NEEDED\).*\[(.+?)\]", text), loader and loader[1]


class Tree:
    """An image's files."""

    def __init__(self, packages):
        self.packages = packages
        self.used = {"ca-certificates"}
        self.folders = {"dev": 0o755, "proc": 0o555, "run": 0o755, "sys": 0o555, "tmp": 0o1777}
        self.links = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64", "etc/os-release": "../usr/lib/os-release"}
        self.files = {"etc/passwd": (PASSWD, 0o644), "etc/group": (GROUP, 0o644), "etc/nsswitch.conf": (b"hosts: files dns\n", 0o644)}
        self.add_from_package("usr/lib/os-release", 0o644)
        roots = sorted(path for path in packages.files if path.startswith("usr/share/ca-certificates/mozilla/"))
        self.files["etc/ssl/certs/ca-certificates.crt"] = (b"".join(read(packages.find(root)[1]) for root in roots), 0o644)
        # Where OpenSSL looks by itself.
        self.links["usr/lib/ssl/cert.pem"] = "/etc/ssl/certs/ca-certificates.crt"
        self.add_library(CRYPTOGRAPHY)

    def add_program(self, target, source):
        """A program, or a folder with one and what belongs to it."""
        own = {name: os.path.join(source, name) for name in os.listdir(source) if not UNUSED.search(name)} if os.path.isdir(source) else {"": source}
        for name, path in own.items():
            libraries, loader = elf_headers(path)
            self.files[os.path.join(target, name).rstrip("/")] = (read(path), 0o755 if loader else 0o644)
            self.add_needed([library for library in libraries if library not in own], loader)

    def add_helper(self, path):
        self.add_from_package(path, 0o755)
        self.add_needed(*elf_headers(self.packages.find(path)[1]))

    def add_needed(self, libraries, loader):
        for library in libraries:
            self.add_library(library)
        if loader:
            # The kernel looks for it under this name; the package has it as a link to the library's own place.
            path, library = under_usr(loader), self.packages.find_library(os.path.basename(loader))
            self.links[path] = os.path.relpath(library, os.path.dirname(path))
            self.add_library(os.path.basename(loader))

    def add_library(self, name):
        path = self.packages.find_library(name)
        if path not in self.files:
            self.add_from_package(path, 0o755)
            self.add_needed(*elf_headers(self.packages.find(path)[1]))

    def add_from_package(self, path, mode):
        package, source = self.packages.find(path)
        self.used.add(package)
        self.files[path] = (read(source), mode)

    def add_records(self):
        """The licences, and which package in which version it was."""
        self.files["usr/share/doc/superserve/copyright"] = (read("LICENSE"), 0o644)
        for package in self.used:
            folder = os.path.join(PACKAGES, package)
            # A package's folder may be a link to that of another one from the same source.
            documents = os.path.join(folder, "usr/share/doc", package)
            origin = os.readlink(documents) if os.path.islink(documents) else package
            self.files[f"usr/share/doc/{package}/copyright"] = (read(self.packages.find(f"usr/share/doc/{origin}/copyright")[1]), 0o644)
            self.files[f"var/lib/dpkg/status.d/{package}"] = (read(os.path.join(folder, "control")), 0o644)

    def to_layer(self):
        for path in [*self.files, *self.links]:
            while path := os.path.dirname(path):
                self.folders.setdefault(path, 0o755)
        entries = [(path, tarfile.DIRTYPE, mode, b"", "") for path, mode in self.folders.items()]
        entries += [(path, tarfile.SYMTYPE, 0o777, b"", target) for path, target in self.links.items()]
        entries += [(path, tarfile.REGTYPE, mode, content, "") for path, (content, mode) in self.files.items()]
        return to_tar(sorted(entries))


def to_tar(entries):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for path, kind, mode, content, target in entries:
            info = tarfile.TarInfo(path)
            info.type, info.mode, info.size, info.linkname, info.mtime = kind, mode, len(content), target, TIME
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def to_archive(name, image, layer):
    created = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(TIME))
    config = to_json({
        "created": created,
        "architecture": ARCHITECTURE,
        "os": "linux",
        "config": {
            "User": "65532:65532",
            "Entrypoint": [f"/usr/bin/{name}"],
            "WorkingDir": "/",
            "Env": ["PATH=/usr/sbin:/usr/bin", *image["env"]],
            "Labels": {
                "org.opencontainers.image.title": image["title"],
                "org.opencontainers.image.description": image["description"],
                "org.opencontainers.image.version": VERSION,
                "org.opencontainers.image.licenses": "Apache-2.0",
                "org.opencontainers.image.source": "https://github.com/superserve-k8s/superserve",
            },
        },
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest(layer)]},
        "history": [{"created": created, "created_by": "build/images.sh"}],
    })
    config_name, layer_name = digest(config) + ".json", digest(layer) + ".tar"
    manifest = to_json([{"Config": config_name, "RepoTags": [f"ghcr.io/superserve-k8s/{name}:{VERSION}"], "Layers": [layer_name]}])
    contents = {"manifest.json": manifest, config_name: config, layer_name: layer}
    return to_tar((path, tarfile.REGTYPE, 0o644, content, "") for path, content in contents.items())


def to_json(value):
    return json.dumps(value, separators=(",", ":")).encode()


def digest(content):
    return hashlib.sha256(content).hexdigest()


packages = Packages(PACKAGES)
for name, image in IMAGES.items():
    tree = Tree(packages)
    for target, source in image["program"].items():
        tree.add_program(target, source)
    for helper in image["helpers"]:
        tree.add_helper(helper)
    tree.links.update(image["links"])
    tree.add_records()
    archive = to_archive(name, image, tree.to_layer())
    path = os.path.join(OUTPUT, name + ".tar")
    with open(path + ".new", "wb") as file:
        file.write(archive)
    os.replace(path + ".new", path)
    print(f"{path}: {len(archive) / 1e6:.0f} MB, with files of {', '.join(sorted(tree.used))}")
