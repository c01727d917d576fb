# SPDX-License-Identifier: Apache-2.0
"""Servers and clients of one process, over the loopback and by Unix sockets."""
import http.server
import os
import socket
import socketserver
import threading
import urllib.error
import urllib.request


class Upper(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line.upper())


with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Upper) as server:
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever).start()
    for word in ("one", "two"):
        with socket.create_connection(server.server_address, timeout=60) as connection:
            connection.sendall(word.encode() + b"\n" * 3)
            connection.shutdown(socket.SHUT_WR)
            print(connection.makefile().read().split())
    server.shutdown()


class Pages(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = self.path.encode() * 1000
        self.send_response(404 if self.path == "/nothing" else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Pages)
threading.Thread(target=server.serve_forever).start()
base = "http://127.0.0.1:%d" % server.server_address[1]
print(len(urllib.request.urlopen(base + "/page").read()))
try:
    urllib.request.urlopen(base + "/nothing")
except urllib.error.HTTPError as error:
    print(error, len(error.read()))
server.shutdown()
server.server_close()

try:
    socket.create_connection(("127.0.0.1", server.server_address[1]), timeout=60)
except OSError as error:
    print(error)

with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as a, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as b:
    a.bind(("127.0.0.1", 0))
    b.sendto(b"datagram", a.getsockname())
    data, sender = a.recvfrom(100)
    print(data, sender[0], sender[1] == b.getsockname()[1])
    a.settimeout(0.05)
    try:
        a.recv(1)
    except TimeoutError as error:
        print(error)

listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
listener.bind("socket")
listener.listen()
client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
client.connect("socket")
peer, _ = listener.accept()
client.sendall(b"by a Unix socket")
print(peer.recv(100))
reader, writer = os.pipe()
socket.send_fds(client, [b"x"], [reader])
_, fds, _, _ = socket.recv_fds(peer, 10, 1)
os.write(writer, b"by a passed descriptor")
print(os.read(fds[0], 100))
os.unlink("socket")
for pair in (socket.socketpair(), socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)):
    pair[0].send(b"pair")
    print(pair[1].recv(10), pair[0].getsockopt(socket.SOL_SOCKET, socket.SO_TYPE) == pair[0].type)
six = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
six.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
six.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
print(six.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), six.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
print("sockets done")
