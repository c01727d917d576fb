# SPDX-License-Identifier: Apache-2.0
import doctest
import logging
import logging.handlers
import tempfile
import unittest


def double(n):
    """
    >>> double(4)
    8
    """
    return n * 2


class Tests(unittest.TestCase):
    def test_double(self):
        self.assertEqual(double(2), 4)

    def test_temporary_file(self):
        with tempfile.NamedTemporaryFile("w+") as file:
            file.write("x" * 10000)
            file.flush()
            with open(file.name) as again:
                self.assertEqual(len(again.read()), 10000)

    @unittest.skip("on purpose")
    def test_skipped(self):
        self.fail()


handler = logging.handlers.RotatingFileHandler("log", maxBytes=1000, backupCount=3)
logger = logging.getLogger("frameworks")
logger.addHandler(handler)
logger.setLevel(logging.INFO)
for i in range(100):
    logger.info("message %d of a log that is rotated", i)
print(doctest.testmod())
unittest.main(verbosity=1)
