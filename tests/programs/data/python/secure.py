# SPDX-License-Identifier: Apache-2.0
"""Both ends of a TLS connection, over a socket pair, in two threads."""
import socket
import ssl
import threading

server_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
server_context.load_cert_chain("certificate.pem", "key.pem")
client_context = ssl.create_default_context(cafile="certificate.pem")
left, right = socket.socketpair()


def serve():
    with server_context.wrap_socket(left, server_side=True) as connection:
        connection.sendall(connection.recv(1000).upper() * 1000)


thread = threading.Thread(target=serve)
thread.start()
with client_context.wrap_socket(right, server_hostname="localhost") as connection:
    print(connection.version(), connection.cipher()[0])
    connection.sendall(b"secret")
    received = b""
    while chunk := connection.recv(100000):
        received += chunk
    print(len(received), received[:6])
thread.join()
try:
    client_context.wrap_socket(socket.socketpair()[0], server_hostname="other", do_handshake_on_connect=False)
    print("wrapped")
except ssl.SSLError as error:
    print(error)
print(len(ssl.create_default_context().get_ca_certs()) >= 0)
