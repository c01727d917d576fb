# SPDX-License-Identifier: Apache-2.0
"""There are no other processes in a VM. What tries to make one gets an error and goes on."""
import multiprocessing
import os
import subprocess


def attempt(name, function):
    try:
        print("%s: %r" % (name, function()), flush=True)
    except OSError as error:
        print("%s: OSError %d %s" % (name, error.errno, error.strerror), flush=True)


attempt("subprocess.run", lambda: subprocess.run(["true"], check=False))
attempt("os.fork", os.fork)
attempt("os.posix_spawn", lambda: os.posix_spawn("/bin/true", ["true"], {}))
attempt("multiprocessing", lambda: multiprocessing.Process(target=print).start())
attempt("os.execv", lambda: os.execv("/bin/true", ["true"]))
attempt("os.wait", os.wait)
attempt("os.kill", lambda: os.kill(1, 0))
print("goes on")
