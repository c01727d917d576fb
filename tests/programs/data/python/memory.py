# SPDX-License-Identifier: Apache-2.0
import ctypes
import gc
import mmap
import resource
import tracemalloc

with open("mapped", "wb+") as file:
    file.write(bytes(3 * 4096))
    file.flush()
    with mmap.mmap(file.fileno(), 0) as shared:
        shared[4090:4100] = b"0123456789"
        shared.flush()
        file.seek(4090)
        print(file.read(10), shared.find(b"89"), len(shared))
        shared.resize(5 * 4096)
        shared[-3:] = b"end"
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as private:
        private[:4] = b"copy"
        print(bytes(private[:4]), private[-3:])
    file.seek(0)
    print(file.read(4))
    with mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as read_only:
        print(read_only.madvise(mmap.MADV_WILLNEED), read_only[4090:4094])
# 0x4000: MAP_NORESERVE
big = mmap.mmap(-1, 1 << 36, flags=mmap.MAP_PRIVATE | 0x4000)
for place in (0, 1 << 30, (1 << 36) - 1):
    big[place] = 7
print(sum(big[place] for place in (0, 5, 1 << 30, (1 << 36) - 1)))
big.close()
blocks = [bytearray(1 << 20) for _ in range(50)]
blocks[10][5] = 1
print(sum(map(len, blocks)))
del blocks
gc.collect()
libc = ctypes.CDLL(None, use_errno=True)
compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_int), ctypes.POINTER(ctypes.c_int))
numbers = (ctypes.c_int * 8)(5, 3, 8, 1, 9, 2, 7, 4)
libc.qsort(numbers, 8, 4, compare(lambda a, b: a[0] - b[0]))
print(list(numbers), libc.strlen(b"four"))
print(libc.mprotect(ctypes.c_void_p(1), 4096, 1), ctypes.get_errno())
tracemalloc.start()
kept = [object() for _ in range(1000)]
print(tracemalloc.get_traced_memory()[0] > 0)
deep = []
for _ in range(100000):
    deep = [deep]
print(resource.getrusage(resource.RUSAGE_SELF).ru_utime >= 0)


def recurse(n):
    return recurse(n + 1) + 1


try:
    recurse(0)
except RecursionError as error:
    print(error)
print("memory done")
