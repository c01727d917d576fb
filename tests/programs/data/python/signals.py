# SPDX-License-Identifier: Apache-2.0
import os
import select
import signal
import threading
import time

log = []
signal.signal(signal.SIGUSR1, lambda number, frame: log.append(signal.Signals(number).name))
os.kill(os.getpid(), signal.SIGUSR1)
signal.raise_signal(signal.SIGUSR1)
signal.pthread_kill(threading.get_ident(), signal.SIGUSR1)
print(log)

signal.signal(signal.SIGALRM, lambda *_: log.append("alarm"))
signal.setitimer(signal.ITIMER_REAL, 0.03)
start = time.monotonic()
time.sleep(0.1)  # goes on after the handler
print(time.monotonic() - start >= 0.1)
while log[-1] != "alarm":
    time.sleep(0.01)
signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
while log.count("alarm") < 4:
    signal.pause()
signal.setitimer(signal.ITIMER_REAL, 0)
print(log.count("alarm") >= 4)


def interrupt(*_):
    raise InterruptedError("by a handler")


signal.signal(signal.SIGALRM, interrupt)
reader, writer = os.pipe()
try:
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    os.read(reader, 1)
except InterruptedError as error:
    print("read", error)
try:
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    threading.Event().wait()
except InterruptedError as error:
    print("wait", error)
signal.signal(signal.SIGVTALRM, interrupt)
try:
    signal.setitimer(signal.ITIMER_VIRTUAL, 0.02)
    while True:
        pass
except InterruptedError as error:
    print("loop", error)

signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGUSR2})
count = len(log)
os.kill(os.getpid(), signal.SIGUSR1)
print(signal.sigpending(), len(log) == count)
os.kill(os.getpid(), signal.SIGUSR2)
info = signal.sigwaitinfo({signal.SIGUSR2})
print(info.si_signo == signal.SIGUSR2, info.si_pid == os.getpid(), info.si_code)
print(signal.sigtimedwait({signal.SIGUSR2}, 0.02))
signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGUSR1})
print(log[-1], len(log) == count + 1)

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
signal.raise_signal(signal.SIGCHLD)
wake_reader, wake_writer = os.pipe()
os.set_blocking(wake_writer, False)
signal.set_wakeup_fd(wake_writer)
signal.signal(signal.SIGUSR1, lambda *_: None)
threading.Timer(0.02, lambda: os.kill(os.getpid(), signal.SIGUSR1)).start()
print(select.select([wake_reader], [], [], 60)[0] == [wake_reader], os.read(wake_reader, 10))
signal.signal(signal.SIGPIPE, signal.SIG_IGN)
os.close(reader)
try:
    os.write(writer, b"x")
except BrokenPipeError as error:
    print(error)
print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
print("signals done")
