# SPDX-License-Identifier: Apache-2.0
"""A small HTTP server on asyncio that ends when asked to."""
import asyncio
import sys


async def answer(reader, writer, stop):
    path = (await reader.readline()).split()[1].decode()
    while (await reader.readline()).strip():
        pass
    await asyncio.sleep(0.02)
    body = f"you asked for {path}\n".encode()
    writer.write(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()
    writer.close()
    if path == "/quit":
        stop.set()


async def main():
    stop = asyncio.Event()
    server = await asyncio.start_server(lambda r, w: answer(r, w, stop), "127.0.0.1", int(sys.argv[1]))
    async with server:
        await stop.wait()
    print("stopped")


asyncio.run(main())
