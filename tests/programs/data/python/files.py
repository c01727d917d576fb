# SPDX-License-Identifier: Apache-2.0
import errno
import fcntl
import glob
import os
import pathlib
import shutil
import stat
import tempfile

top = pathlib.Path("tree")
(top / "a" / "b").mkdir(parents=True)
for i in range(20):
    (top / "a" / f"file{i:02}").write_text(f"content {i}\n" * i)
os.symlink("a/file07", top / "link")
os.link(top / "a" / "file08", top / "hard")
os.mkfifo(top / "pipe", 0o640)
os.chmod(top / "hard", 0o0711)
print(sorted(glob.glob("tree/**/*1*", recursive=True)))
print([(p, sorted(d), len(f)) for p, d, f in os.walk("tree")])
with os.scandir("tree") as entries:
    print(sorted((e.name, e.is_dir(), e.is_symlink(), e.stat(follow_symlinks=False).st_nlink) for e in entries))
shutil.copytree(top, "copy", symlinks=True, ignore=shutil.ignore_patterns("pipe"))
shutil.move("copy/a", "moved")
shutil.rmtree("moved/b")
os.rename("moved/file01", "moved/file02")
os.replace("moved/file03", "moved/replaced")
os.truncate("moved/file10", 5)
os.utime("moved/file11", ns=(10**18, 10**18 + 1))
print(os.stat("moved/file11").st_mtime_ns, os.lstat("tree/link").st_size, os.readlink("tree/link"))
with open("sparse", "wb+") as file:
    file.seek(1 << 30)
    file.write(b"end")
    file.truncate(1 << 20)
    file.seek(0)
    print(file.read(4), os.fstat(file.fileno()).st_size)
fd = os.open("data", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
print(os.pwrite(fd, b"hello world", 5), os.pread(fd, 5, 11), os.lseek(fd, 0, os.SEEK_END))
print(os.writev(fd, [b"a", b"bc", b""]), os.preadv(fd, [bytearray(3)], 16))
os.posix_fallocate(fd, 0, 8192)
os.fsync(fd)
os.fdatasync(fd)
copy = os.dup(fd)
os.close(fd)
print(os.fstat(copy).st_size, os.get_inheritable(copy), fcntl.fcntl(copy, fcntl.F_GETFL) & os.O_ACCMODE)
fcntl.flock(copy, fcntl.LOCK_EX | fcntl.LOCK_NB)
fcntl.lockf(copy, fcntl.LOCK_EX, 10)
other = os.open("data", os.O_RDONLY)
try:
    fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
except OSError as error:
    print("flock:", error.strerror)
for what, call in (
    ("open", lambda: open("nothing")),
    ("mkdir", lambda: os.mkdir("tree")),
    ("rmdir", lambda: os.rmdir("tree")),
    ("unlink", lambda: os.unlink("tree")),
    ("open directory", lambda: open("tree")),
    ("not a directory", lambda: os.stat("data/x")),
    ("loop", lambda: (os.symlink("loop", "loop"), os.stat("loop"))),
    ("name too long", lambda: open("x" * 300)),
    ("closed", lambda: os.read(999, 1)),
    ("rename", lambda: os.rename("tree", "tree/a/x")),
    ("readlink", lambda: os.readlink("data")),
    ("exclusive", lambda: os.open("data", os.O_CREAT | os.O_EXCL)),
    ("read-only", lambda: os.write(other, b"x")),
    ("pipe", lambda: os.lseek(os.pipe()[0], 0, 0)),
):
    try:
        call()
        print(what, "worked")
    except OSError as error:
        print(what, errno.errorcode[error.errno], error.filename and os.path.basename(str(error.filename))[:20])
os.umask(0o077)
with tempfile.TemporaryDirectory() as directory:
    path = os.path.join(directory, "x")
    open(path, "w").close()
    print(oct(stat.S_IMODE(os.stat(path).st_mode)), os.path.dirname(directory))
with tempfile.TemporaryFile() as file:
    file.write(b"x" * 100000)
    print(file.tell(), os.fstat(file.fileno()).st_nlink)
here = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
inside = os.open("tree/a/file09", os.O_RDONLY, dir_fd=here)
print(len(os.read(inside, 1000)), os.access("data", os.W_OK), os.access("data", os.X_OK))
os.chdir("tree/a")
print(os.path.relpath(os.getcwd(), os.environ["HOME"]), os.path.exists("file05"))
os.fchdir(here)
print(sorted(os.listdir(here)), os.statvfs(".").f_namemax)
os.sendfile(copy, inside, 0, 50)
print(shutil.disk_usage(".").total > 0, os.copy_file_range(inside, copy, 10, 0, 100))
print("files done")
