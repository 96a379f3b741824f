#!/usr/bin/env python3
"""Runs a command in an image's root file system as a container runtime would. Called by check.sh:

in_pod.py USER CAPABILITY ROOT COMMAND...    (CAPABILITY: the one that it can have as user 0, NET_ADMIN or NET_RAW, or none)
"""
import ctypes
import os
import sys

user, capability, root, *command = sys.argv[1:]
kept = {"none": None, "NET_ADMIN": 12, "NET_RAW": 13}[capability]
with open("/proc/sys/kernel/cap_last_cap") as file:
    last = int(file.read())
libc = ctypes.CDLL(None, use_errno=True)


def prctl(option, argument):
    if libc.prctl(option, ctypes.c_ulong(argument), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}, {argument})")


os.chroot(root)
os.chdir("/")
for number in range(last + 1):
    if number != kept:
        prctl(24, number)  # PR_CAPBSET_DROP: gone with the command's start
os.setgroups([])
os.setgid(int(user))
os.setuid(int(user))
prctl(38, 1)  # PR_SET_NO_NEW_PRIVS
os.execv(command[0], command)
