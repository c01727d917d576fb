# SPDX-License-Identifier: Apache-2.0
import datetime
import errno
import locale
import os
import platform
import random
import resource
import sys
import time
import uuid
import zoneinfo

print(platform.system(), platform.machine(), sys.byteorder, sys.maxsize, os.sep)
print(time.time() > 1.6e9, time.monotonic() > 0, time.process_time() >= 0, time.thread_time() >= 0)
times = [time.monotonic_ns() for _ in range(1000)]
print(times == sorted(times), abs(time.time() - time.clock_gettime(time.CLOCK_REALTIME)) < 30)
print(time.strftime("%F %T", time.gmtime(1e9)), time.tzname)
print(datetime.datetime(2024, 7, 1, 12, tzinfo=zoneinfo.ZoneInfo("America/New_York")).isoformat())
start = time.perf_counter()
time.sleep(0.05)
print(0.05 <= time.perf_counter() - start < 60)
print(len({os.urandom(16) for _ in range(100)}), len(os.getrandom(1000)), len({uuid.uuid4() for _ in range(100)}))
print(random.Random(42).sample(range(1000), 5), random.random() != random.random())
print(os.getuid() == os.geteuid(), os.getpid() > 0, os.getppid() >= 0, os.cpu_count() > 0)
print(sorted(os.sched_getaffinity(0))[0] >= 0, os.getpriority(os.PRIO_PROCESS, 0))
soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
print(soft > 0, hard >= soft)
resource.setrlimit(resource.RLIMIT_NOFILE, (20, hard))
files = []
try:
    while True:
        files.append(os.open("/dev/null", os.O_RDONLY))
except OSError as error:
    print(errno.errorcode[error.errno], max(files))
for fd in files:
    os.close(fd)
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(os.isatty(0), os.isatty(1), os.path.exists("/proc/self/status"), os.readlink("/proc/self/exe"))
print(os.open("/dev/zero", os.O_RDONLY) > 0, open("/dev/zero", "rb").read(3), open("/dev/null").read())
print(sys.getfilesystemencoding(), locale.setlocale(locale.LC_ALL, ""), os.environ["TZ"])
os.environ["NEW"] = "value"
print(os.getenv("NEW"), os.getcwd() == os.environ["HOME"], os.path.expanduser("~") == os.getcwd())
print(os.uname().sysname, os.sysconf("SC_PAGESIZE"), os.sysconf("SC_OPEN_MAX") > 0, os.getloadavg()[0] >= 0)
print(os.listdir("/dev/fd")[:3], os.getpgrp() > 0, os.umask(0o22))
print("system done")
