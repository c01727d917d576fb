# SPDX-License-Identifier: Apache-2.0
import binascii
import bz2
import gzip
import hashlib
import hmac
import lzma
import tarfile
import zipfile
import zlib

data = open("data", "rb").read()
for name in sorted(hashlib.algorithms_guaranteed):
    digest = hashlib.new(name, data)
    print(name, digest.hexdigest(16) if name.startswith("shake") else digest.hexdigest())
print(hmac.new(b"key", data, "sha256").hexdigest(), binascii.crc32(data), zlib.adler32(data))
print(hashlib.pbkdf2_hmac("sha256", b"secret", b"salt", 10000).hex())
print(hashlib.scrypt(b"secret", salt=b"salt", n=1024, r=8, p=1).hex())
half = data[:100000] + bytes(400000)
for module in (zlib, bz2, lzma):
    packed = module.compress(half)
    print(module.__name__, len(packed), module.decompress(packed) == half)
with gzip.GzipFile("data.gz", "wb", mtime=0) as out:
    out.write(half)
print(gzip.open("data.gz").read() == half)
with zipfile.ZipFile("data.zip", "w", zipfile.ZIP_DEFLATED) as archive:
    archive.writestr(zipfile.ZipInfo("half"), half)
print(zipfile.ZipFile("data.zip").testzip())
with tarfile.open("data.tar.xz", "w:xz") as archive:
    archive.add("data")
print(tarfile.open("data.tar.xz").getmember("data").size)
