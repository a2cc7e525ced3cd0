# SPDX-License-Identifier: Apache-2.0
"""The pinned eBPF maps of an installation, changed without its knowledge by the system call, because bpftool may be missing."""

import ctypes
import os
import platform

BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
GET_NEXT_KEY, DELETE_ELEM, OBJ_GET = 4, 3, 7
KEY_BYTES = 12

libc = ctypes.CDLL(None, use_errno=True)


class Attributes(ctypes.Structure):
    """`union bpf_attr` of the three commands used here: all are numbers and pointers of 8 bytes."""

    _fields_ = [("first", ctypes.c_uint64), ("second", ctypes.c_uint64), ("third", ctypes.c_uint64)]


def bpf(command, *values):
    attributes = Attributes(*values)
    done = libc.syscall(BPF, command, ctypes.byref(attributes), ctypes.sizeof(attributes))
    if done < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return done


def remove_rows(instance, name, is_meant):
    """Removes rows by their keys; returns their number."""
    (layout,) = [name for name in os.listdir(f"/sys/fs/bpf/berth/{instance}") if not name.startswith("ports")]
    path = ctypes.create_string_buffer(f"/sys/fs/bpf/berth/{instance}/{layout}/{name}".encode())
    file = bpf(OBJ_GET, ctypes.addressof(path))
    try:
        keys, key, after = [], ctypes.create_string_buffer(KEY_BYTES), 0
        while True:
            try:
                bpf(GET_NEXT_KEY, file, after, ctypes.addressof(key))
            except FileNotFoundError:
                break
            keys.append(key.raw[:KEY_BYTES])
            last = ctypes.create_string_buffer(keys[-1], KEY_BYTES)
            after = ctypes.addressof(last)
        meant = [ctypes.create_string_buffer(key, KEY_BYTES) for key in keys if is_meant(key)]
        for key in meant:
            bpf(DELETE_ELEM, file, ctypes.addressof(key))
        return len(meant)
    finally:
        os.close(file)
