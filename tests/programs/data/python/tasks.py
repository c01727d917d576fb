# SPDX-License-Identifier: Apache-2.0
import asyncio
import os


async def produce(queue, count):
    for i in range(count):
        await queue.put(i)
        await asyncio.sleep(0)
    await queue.put(None)


async def consume(queue):
    total = 0
    while (item := await queue.get()) is not None:
        total += item
    return total


async def echo(reader, writer):
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()
    writer.close()


async def client(port, number):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"client {number}\n".encode())
    line = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return line


async def main():
    queue = asyncio.Queue(10)
    _, total = await asyncio.gather(produce(queue, 1000), consume(queue))
    print("consumed", total)
    try:
        await asyncio.wait_for(asyncio.sleep(100), 0.03)
    except asyncio.TimeoutError:
        print("timed out")
    loop = asyncio.get_running_loop()
    print("in a thread", await loop.run_in_executor(None, sum, range(1000)))
    reader, writer = os.pipe()
    arrived = loop.create_future()
    loop.add_reader(reader, lambda: arrived.set_result(os.read(reader, 100)))
    loop.call_later(0.02, os.write, writer, b"by a pipe")
    print(await arrived)
    loop.remove_reader(reader)
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    lines = await asyncio.gather(*(client(port, n) for n in range(20)))
    print("echoed", len(lines), lines[7])
    server.close()
    await server.wait_closed()
    await asyncio.to_thread(print, "from a thread")
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(asyncio.sleep(0.01, n)) for n in range(5)]
    print([task.result() for task in tasks])


asyncio.run(main())
