#!/usr/bin/env python3
"""Runs the containers of a pod as processes of this machine, as far as the demo needs a kubelet: volumes in a mount namespace,
environment, service account tokens, capabilities. Where DIRECTORY/pause.pid names a process, its network is the pod's,
and DIRECTORY/resolv.conf its resolvers. It reads the pod as the API server has it, so what runs is what admission made of it.

usage: run-pod.py init DIRECTORY NAMESPACE POD BINARY          runs superserve-init, where the pod has it, with BINARY in place of its image
       run-pod.py sidecar DIRECTORY NAMESPACE POD BINARY       runs the sidecar likewise, until killed
       run-pod.py exec DIRECTORY NAMESPACE POD -- COMMAND...   runs a command in the first container
       run-pod.py env DIRECTORY NAMESPACE POD                  prints the first container's environment
"""
import json
import os
import re
import shlex
import subprocess
import sys


def kubectl(*arguments):
    return subprocess.run(["kubectl", *arguments], check=True, capture_output=True, text=True).stdout


def volume(directory, pod, spec):
    """The directory that stands for a volume, filled."""
    path = os.path.join(directory, "volumes", spec["name"])
    os.makedirs(path, exist_ok=True)
    for source in spec.get("projected", {}).get("sources", []):
        if "serviceAccountToken" not in source:
            continue
        token = source["serviceAccountToken"]
        metadata = pod["metadata"]
        # As the node's kubelet: nobody else gets a token for this audience.
        text = kubectl(
            "--as", "system:node:demo", "--as-group", "system:nodes", "--as-group", "system:masters", "create", "token", pod["spec"].get("serviceAccountName", "default"), "-n", metadata["namespace"], "--audience", token["audience"],
            "--bound-object-kind", "Pod", "--bound-object-name", metadata["name"], "--bound-object-uid", metadata["uid"])
        with open(os.path.join(path, token["path"]), "w") as file:
            file.write(text.strip())
    return path


def environment(pod, container):
    """The container's variables; $(NAME) stands for one that came before, as in Kubernetes."""
    values = {}
    for entry in container.get("env", []):
        field = entry.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
        if field:
            value = pod
            for part in field.split("."):
                value = value[part]
        else:
            value = re.sub(r"\$\(([A-Za-z_][A-Za-z0-9_]*)\)", lambda match: values.get(match[1], match[0]), entry.get("value", ""))
        values[entry["name"]] = value
    return values


# What container runtimes leave to root.
DEFAULT_CAPABILITIES = {"chown", "dac_override", "fsetid", "fowner", "mknod", "net_raw", "setgid", "setuid", "setfcap", "setpcap", "net_bind_service", "sys_chroot", "kill", "audit_write"}


def limits(container):
    """The command that gives the container's process the capabilities that the pod says, and no others."""
    context = container.get("securityContext", {})
    asked = {key: {name.lower().removeprefix("cap_") for name in names} for key, names in context.get("capabilities", {}).items()}
    held = (set() if "all" in asked.get("drop", ()) else DEFAULT_CAPABILITIES - asked.get("drop", set())) | asked.get("add", set())
    bounding = ",".join(["-all", *("+" + name for name in sorted(held))])
    return ["setpriv", "--bounding-set", bounding, "--inh-caps", "-all"] + (["--no-new-privs"] if context.get("allowPrivilegeEscalation") is False else [])


def run(directory, pod, container, command):
    """Becomes the container's process."""
    script = ["set -e", "mount -t tmpfs tmpfs /run"]
    volumes = {spec["name"]: spec for spec in pod["spec"].get("volumes", [])}
    resolvers = os.path.join(directory, "resolv.conf")
    if os.path.exists(resolvers):
        script.append(f"mount --bind {shlex.quote(resolvers)} /etc/resolv.conf")
    for mount in container.get("volumeMounts", []):
        source = volume(directory, pod, volumes[mount["name"]])
        target = os.path.realpath("/var/run") + mount["mountPath"].removeprefix("/var/run")
        script.append(f"mkdir -p {shlex.quote(target)}")
        script.append(f"mount --bind {shlex.quote(source)} {shlex.quote(target)}")
        if mount.get("readOnly"):
            script.append(f"mount -o remount,bind,ro {shlex.quote(target)}")
    values = {"PATH": os.environ["PATH"], "HOME": "/", **environment(pod, container)}
    if os.geteuid() == 0:
        command = limits(container) + command
    script.append("exec env -i " + " ".join(shlex.quote(part) for part in [f"{key}={value}" for key, value in values.items()] + command))
    unshare = ["unshare", "--mount", "--propagation", "private"] + ([] if os.geteuid() == 0 else ["--user", "--map-root-user"])
    pause = os.path.join(directory, "pause.pid")
    network = []
    if os.path.exists(pause):
        with open(pause) as file:
            network = ["nsenter", f"--net=/proc/{file.read().strip()}/ns/net"]
    words = [*network, *unshare, "sh", "-c", "\n".join(script)]
    os.execvp(words[0], words)


def main():
    verb, directory, namespace, name, *rest = sys.argv[1:]
    pod = json.loads(kubectl("get", "pod", name, "-n", namespace, "-o", "json"))
    first = pod["spec"]["containers"][0]
    if verb == "env":
        print("\n".join(f"{key}={value}" for key, value in environment(pod, first).items()))
    elif verb == "exec":
        run(directory, pod, first, rest[1:])
    elif verb in ("init", "sidecar"):
        for container in pod["spec"]["initContainers"]:
            if container["name"] == f"superserve-{verb}":
                run(directory, pod, container, [rest[0], *container["args"]])


main()
