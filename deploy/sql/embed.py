#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the numbered SQL files as the C source of node/db/migrations.h: embed.py OUT FILE..."""
import hashlib
import pathlib
import re
import sys


def literal(line):
    """A line of SQL as a C string; anything but plain ASCII as octal."""
    out = ''.join(chr(b) if 32 <= b < 127 and b not in b'"\\?' else f'\\{b:03o}'
                  for b in line.encode())
    return f'     "{out}"'


def main(out, *paths):
    rows = []
    last = 0
    for path in sorted(map(pathlib.Path, paths), key=lambda p: p.name):
        match = re.fullmatch(r'(\d{4})_([a-z0-9_]+)\.sql', path.name)
        if not match:
            sys.exit(f'{path.name}: must be NNNN_name.sql')
        version = int(match[1])
        if version != last + 1:
            sys.exit(f'{path.name}: version {last + 1} expected')
        last = version
        text = path.read_bytes()
        digest = ', '.join(f'0x{b:02x}' for b in hashlib.sha256(text).digest())
        sql = '\n'.join(literal(line) for line in text.decode().splitlines(keepends=True))
        rows.append(f'    {{{version}, "{match[2]}",\n{sql},\n     {{{digest}}}}},\n')
    pathlib.Path(out).write_text(
        '/* Written by deploy/sql/embed.py. */\n#include "node/db/migrations.h"\n\n'
        'const struct rt_migration rt_migrations[] = {\n' + ''.join(rows) + '};\n'
        'const size_t rt_migrations_count = sizeof rt_migrations / sizeof rt_migrations[0];\n')


main(*sys.argv[1:])
