# SPDX-License-Identifier: Apache-2.0
import os
import select
import selectors
import socket
import threading
import time

reader, writer = os.pipe()
start = time.monotonic()
print(select.select([reader], [writer], [], 1)[1] == [writer])
print(select.select([reader], [], [], 0.03), time.monotonic() - start >= 0.03)
threading.Timer(0.03, os.write, (writer, b"x")).start()
print(select.select([reader], [], [], 60)[0] == [reader], os.read(reader, 5))

poll = select.poll()
poll.register(reader, select.POLLIN)
print(poll.poll(20))
os.write(writer, b"yy")
print(poll.poll(1000) == [(reader, select.POLLIN)])
os.close(writer)
os.read(reader, 10)
print(poll.poll(1000) == [(reader, select.POLLHUP)], os.read(reader, 10))

a, b = socket.socketpair()
epoll = select.epoll()
epoll.register(a, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
print(epoll.poll(1) == [(a.fileno(), select.EPOLLOUT)], epoll.poll(0.01))
b.send(b"z")
print(epoll.poll(1) == [(a.fileno(), select.EPOLLIN | select.EPOLLOUT)], epoll.poll(0.01))
epoll.modify(a, select.EPOLLIN | select.EPOLLONESHOT)
print(len(epoll.poll(1)), epoll.poll(0.01))
inner = select.epoll()
inner.register(epoll.fileno(), select.EPOLLIN)
epoll.modify(a, select.EPOLLIN)
print(len(inner.poll(1)))
b.close()
print(epoll.poll(1)[0][1] & (select.EPOLLHUP | select.EPOLLIN) != 0)
epoll.unregister(a)
for bad in (lambda: epoll.register(999), lambda: epoll.unregister(a), lambda: epoll.register(os.open(".", 0))):
    try:
        bad()
    except OSError as error:
        print(error.strerror)

event = os.eventfd(3, os.EFD_NONBLOCK)
os.eventfd_write(event, 4)
print(os.eventfd_read(event))
try:
    os.eventfd_read(event)
except BlockingIOError as error:
    print(error.strerror)
semaphore = os.eventfd(2, os.EFD_SEMAPHORE)
print(os.eventfd_read(semaphore), os.eventfd_read(semaphore))
threading.Timer(0.02, os.eventfd_write, (semaphore, 1)).start()
print(os.eventfd_read(semaphore))

with selectors.DefaultSelector() as selector:
    pairs = [socket.socketpair() for _ in range(20)]
    for number, (left, right) in enumerate(pairs):
        left.setblocking(False)
        selector.register(left, selectors.EVENT_READ, number)
    seen = set()
    for number, (left, right) in enumerate(pairs):
        threading.Thread(target=right.send, args=(b"%d" % number,)).start()
    while len(seen) < 20:
        for key, _ in selector.select(60):
            seen.add(int(key.fileobj.recv(10)))
    print(sorted(seen) == list(range(20)))
print("waiting done")
