# SPDX-License-Identifier: Apache-2.0
"""udp_echo.py PORT: sends each datagram back. That it is there is told by TCP, on the same port."""

import socket
import sys
import threading


def accept_all(listener):
    while True:
        listener.accept()[0].close()


address = ("127.0.0.1", int(sys.argv[1]))
echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
echo.bind(address)
threading.Thread(target=accept_all, args=(socket.create_server(address),), daemon=True).start()
while True:
    echo.sendto(*echo.recvfrom(65536))
