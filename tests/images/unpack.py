#!/usr/bin/env python3
"""Checks an image archive and unpacks it. Called by check.sh: unpack.py ARCHIVE NAME VERSION FOLDER; prints the image's variables.

It reads the archive as a container runtime does, and knows nothing of the script that wrote it but what it promises.
"""
import hashlib
import io
import json
import re
import sys
import tarfile

archive, name, version, folder = sys.argv[1:]


def check(condition, message):
    if not condition:
        sys.exit(f"{archive}: {message}")


def digest(content):
    return hashlib.sha256(content).hexdigest()


with tarfile.open(archive) as tar:
    contents = {member.name: tar.extractfile(member).read() for member in tar}

manifest = json.loads(contents.pop("manifest.json"))
check(len(manifest) == 1, "manifest.json lists more than one image")
image = manifest[0]
check(image["RepoTags"] == [f"ghcr.io/superserve-k8s/{name}:{version}"], f"its tags are {image['RepoTags']}")
check(sorted(contents) == sorted([image["Config"], *image["Layers"]]), "it holds other files than manifest.json names")
check(image["Config"] == digest(contents[image["Config"]]) + ".json", "the configuration is not named by its digest")

config = json.loads(contents[image["Config"]])
check(config["os"] == "linux" and config["architecture"] in ("amd64", "arm64"), "it is for another platform")
check(config["rootfs"] == {"type": "layers", "diff_ids": ["sha256:" + digest(contents[layer]) for layer in image["Layers"]]}, "diff_ids are not the layers' digests")
check(len([entry for entry in config["history"] if not entry.get("empty_layer")]) == len(image["Layers"]), "the history is not that of its layers")
settings = config["config"]
check(settings["User"] == "65532:65532", "its user is not 65532")
check(settings["Entrypoint"] == [f"/usr/bin/{name}"], "its entry point is another")
check("Volumes" not in settings and settings["WorkingDir"] == "/", "it has volumes, or a working directory")
for label in ("title", "description", "version", "licenses", "source"):
    check(settings["Labels"].get("org.opencontainers.image." + label), f"the label {label} is missing")
check(settings["Labels"]["org.opencontainers.image.version"] == version, "its label has another version")

# What would help somebody who got in, and what only takes room.
SUPERFLUOUS = re.compile(r"(^|/)(sh|bash|dash|busybox|apt[a-z-]*|dpkg|perl|python3?|curl|wget|openssl)$|^usr/share/(man|locale|info)/|^var/(cache|lib/apt)/|\.deb$|\.a$")

for layer in image["Layers"]:
    with tarfile.open(fileobj=io.BytesIO(contents[layer])) as tar:
        members = tar.getmembers()
        names = [member.name for member in members]
        check(names == sorted(set(names)), "its files are not sorted, or stand twice")
        check(len({member.mtime for member in members}) == 1, "its files have different times")
        for member in members:
            where = f"{member.name}: "
            check(member.isfile() or member.isdir() or member.issym(), where + "is neither a file nor a folder nor a link")
            check((member.uid, member.gid) == (0, 0), where + "is not root's")
            check(member.issym() or member.name == "tmp" or not member.mode & 0o7022, where + f"has the mode {member.mode:o}")
            check(not SUPERFLUOUS.search(member.name) or member.isdir(), where + "has no place in the image")
        tar.extractall(folder)

print("\n".join(settings["Env"]))
