# SPDX-License-Identifier: Apache-2.0
"""How tests/programs/run does it: table.py reads rows, prove.py runs and compares them."""
