# SPDX-License-Identifier: Apache-2.0
import concurrent.futures
import queue
import threading
import time

lock = threading.Lock()
total = 0


def add(times):
    global total
    for _ in range(times):
        with lock:
            total += 1


threads = [threading.Thread(target=add, args=(2000,)) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("total", total)

jobs, results = queue.Queue(maxsize=4), queue.Queue()


def worker():
    while (item := jobs.get()) is not None:
        results.put(item * item)
        jobs.task_done()


threads = [threading.Thread(target=worker, daemon=True) for _ in range(4)]
for thread in threads:
    thread.start()
for i in range(500):
    jobs.put(i)
jobs.join()
for _ in threads:
    jobs.put(None)
for thread in threads:
    thread.join(timeout=60)
print("squares", sum(results.get() for _ in range(500)))

with concurrent.futures.ThreadPoolExecutor(6) as pool:
    print(list(pool.map(lambda n: sum(range(n)), range(0, 100000, 10000))))

barrier = threading.Barrier(5)
event = threading.Event()
order = []


def meet(number):
    barrier.wait(timeout=60)
    if number == 0:
        time.sleep(0.02)
        event.set()
    print_me = event.wait(timeout=60)
    with lock:
        order.append(print_me)


threads = [threading.Thread(target=meet, args=(n,), name=f"meet-{n}") for n in range(5)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(order)
start = time.monotonic()
print(lock.acquire() and lock.acquire(timeout=0.05), time.monotonic() - start >= 0.05)
condition = threading.Condition()
with condition:
    print(condition.wait(timeout=0.02))
local = threading.local()
local.value = 1
thread = threading.Thread(target=lambda: setattr(local, "value", 2))
thread.start()
thread.join()
print(local.value, threading.active_count())
timer = threading.Timer(0.02, lambda: print("timer"))
timer.start()
timer.join()
many = [threading.Thread(target=time.sleep, args=(0.01,)) for _ in range(40)]
for thread in many:
    thread.start()
for thread in many:
    thread.join()
print("all joined")
