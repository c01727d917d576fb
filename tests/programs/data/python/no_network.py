# SPDX-License-Identifier: Apache-2.0
import socket
import sys

try:
    socket.create_connection(("127.0.0.1", int(sys.argv[1])), timeout=60)
    print("connect: connected")
except OSError as error:
    print("connect:", error.strerror)
a, b = socket.socketpair()
a.send(b"x")
print("socketpair works" if b.recv(1) == b"x" else "socketpair fails")
