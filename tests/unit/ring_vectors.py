#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The arithmetic of cluster/ring.h a second time, from its text, in exact numbers.

Usage: ring_vectors.py table           the log2 table of cluster/ring.c
       ring_vectors.py vectors         tests/unit/ring_vectors.h
       ring_vectors.py check ROOT      both are what is committed below ROOT

The committed vectors hold the arithmetic still: a build that computes other scores would disagree
with its neighbours about every owner. Nobody should need to write them anew.
"""
import decimal
import pathlib
import re
import sys

M64 = 2**64 - 1
GOLDEN = 0x9E3779B97F4A7C15
decimal.getcontext().prec = 60


def log2_entry(i):
    """log2(1 + i/256) in Q32, rounded to the nearest."""
    d = (1 + decimal.Decimal(i) / 256).ln() / decimal.Decimal(2).ln() * 2**32
    return int(d.to_integral_value(decimal.ROUND_HALF_EVEN))


TABLE = [log2_entry(i) for i in range(257)]


def mix64(v):
    v = ((v ^ (v >> 30)) * 0xBF58476D1CE4E5B9) & M64
    v = ((v ^ (v >> 27)) * 0x94D049BB133111EB) & M64
    return v ^ (v >> 31)


def score_of(h):
    if h == 0:
        return 64 << 32
    whole = h.bit_length() - 1
    mantissa = h << (63 - whole)
    i, rest = mantissa >> 55 & 0xFF, mantissa >> 23 & 0xFFFFFFFF
    part = TABLE[i] + ((TABLE[i + 1] - TABLE[i]) * rest >> 32)
    return (64 << 32) - ((whole << 32) + part)


def score(node, key):
    return score_of(mix64(node ^ mix64((key * GOLDEN + 1) & M64)))


def owner(members, key):
    """Exact: scores by weight as fractions over a shared denominator, equal ones by the id."""
    best = None
    for node, weight in sorted(members):
        e = score(node, key)
        if best is None or e * best[2] < best[1] * weight:
            best = (node, e, weight)
    return best[0]


def print_table():
    for i in range(0, 257, 8):
        print("    " + ", ".join(f"{v}u" for v in TABLE[i:i + 8]) + ",")


def unmix64(v):
    v = v ^ (v >> 31) ^ (v >> 62)
    v = (v * pow(0x94D049BB133111EB, -1, 2**64)) & M64
    v = v ^ (v >> 27) ^ (v >> 54)
    v = (v * pow(0xBF58476D1CE4E5B9, -1, 2**64)) & M64
    return v ^ (v >> 30) ^ (v >> 60)


def node_with_hash(h, key):
    """The id whose hash for this key is h: reaches the ends of the range."""
    return unmix64(h) ^ mix64((key * GOLDEN + 1) & M64)


def vectors():
    rows = []
    for key in (0, 1, 2, 4095, 0x0123456789ABCDEF, M64):
        rows += [(node, key) for node in (0, 1, 2, 0xDEADBEEF, mix64(key + 7), M64)]
    edges = (0, 1, 2, 3, 2**23, 2**32 - 1, 2**32, 2**55 - 1, 2**55, 2**63 - 1, 2**63,
             2**63 + 2**55 - 1, 2**63 + 2**55, M64 - 2**23, M64)
    rows += [(node_with_hash(h, 77), 77) for h in edges]
    return [(node, key, score(node, key)) for node, key in rows]


SETS = {
    "equal": [(mix64(i), 100) for i in range(1, 8)],
    "unequal": [(mix64(i), w) for i, w in enumerate((1, 50, 100, 100, 333, 1000), 1)],
    "small": [(1, 1), (2, 1), (3, 2)],
    "huge": [(1, 2**32 - 1), (2, 2**32 - 2), (3, 1)],
}


def vectors_text():
    out = ["/* SPDX-License-Identifier: Apache-2.0 */",
           "/* Written once by ring_vectors.py: see there. */", "",
           "static const struct {", "    uint64_t id, key, score;", "} ring_scores[] = {"]
    for node, key, e in vectors():
        out.append(f"    {{UINT64_C({node:#x}), UINT64_C({key:#x}), UINT64_C({e:#x})}},")
    out += ["};", "",
            "/* Members, and the owner of partitions 0, 64, 128 ... as place in the list. */",
            "static const struct {", "    uint32_t n;", "    struct cl_ring_member m[8];",
            "    const char *owners;", "} ring_sets[] = {"]
    for name, members in SETS.items():
        place = {node: str(i) for i, (node, _) in enumerate(members)}
        owners = "".join(place[owner(members, key)] for key in range(0, 4096, 64))
        out.append(f"    /* {name} */")
        out.append(f"    {{{len(members)},")
        out.append("     {" + ",\n      ".join(f"{{UINT64_C({node:#x}), {w}u}}"
                                              for node, w in members) + "},")
        out.append(f'     "{owners}"}},')
    out += ["};", ""]
    return "\n".join(out)


def check(root):
    root = pathlib.Path(root)
    source = (root / "cluster/ring.c").read_text(encoding="utf-8")
    body = re.search(r"log2_q32\[257\] = \{(.*?)\};", source, re.S)
    numbers = [int(n) for n in re.findall(r"(\d+)u", body.group(1))] if body else []
    if numbers != TABLE:
        sys.exit("cluster/ring.c: the log2 table is not what this script computes")
    header = (root / "tests/unit/ring_vectors.h").read_text(encoding="utf-8")
    squeeze = lambda text: re.sub(r"\s+", "", text)
    if squeeze(header) != squeeze(vectors_text()):
        sys.exit("tests/unit/ring_vectors.h is not what this script writes")
    print(f"table of {len(numbers)} entries and {len(vectors())} scores agree")


def main():
    if sys.argv[1:] == ["table"]:
        print_table()
    elif sys.argv[1:] == ["vectors"]:
        print(vectors_text(), end="")
    elif len(sys.argv) == 3 and sys.argv[1] == "check":
        check(sys.argv[2])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
