// SPDX-License-Identifier: Apache-2.0
// Random rows and random conditions on them: as a subscriber writes them, and as SQL. Values come from small pools,
// so that conditions are true often enough.

/** A seeded generator (xorshift32): below(n) gives 0 .. n-1. */
export function random(seed) {
  let x = (seed >>> 0) || 1
  const next = () => { x ^= x << 13; x >>>= 0; x ^= x >>> 17; x ^= x << 5; x >>>= 0; return x }
  const below = (n) => next() % n
  return { below, pick: (list) => list[below(list.length)] }
}

const quote = (v) => `'${v.replaceAll("'", "''")}'`
const texts = ['', 'a', 'A', 'ab', 'AB', 'abc', 'b', 'ä', 'Ä', 'äb', 'ß', '€', 'a b', 'a,b', 'a"b', 'a\\b', 'a_b', 'a%b', '(a)', 'null', '10', '9', 'aXbX', '-a']
const short = texts.filter((v) => [...v].length <= 4)
const times = ['2024-02-29', '2024-03-01', '1999-12-31', '0044-03-15 BC', 'infinity', '-infinity']
const stamps = ['2024-02-29 12:00:00', '2024-02-29 12:00:00.000001', '1999-12-31 23:59:59', '0044-03-15 00:00:00 BC', 'infinity', '-infinity']
const patterns = ['%', '_', '__', 'a%', '%b', 'A%', '%a%', '_b', 'ä_', '%_b%', 'a\\_b', 'a\\%b', '', 'a\\\\b', '%X_', '%ä%', 'abc', `%${'b'.repeat(70)}`]
const regexes = ['^a', 'b$', 'a.b', '^[ab]+$', 'ä', '(a|b)(c|$)', '^.$', '', '^A', '[[:upper:]]', '\\d', 'a,b', '"']

/** name, SQL type of the column, type under domains and without lengths, values, more values for filters. */
const col = (name, sql, type, values, more = [], text = false) => ({
  name, sql, type, text, values,
  literal: (rng) => rng.below(5) === 0 ? 'null' : quote(rng.pick(values)),
  operand: (rng) => rng.below(4) === 0 && more.length > 0 ? rng.pick(more) : rng.pick(values),
})
export const columns = [
  col('i2', 'int2', 'int2', ['-1', '0', '1', '2'], ['+1', ' 2', '007']),
  col('i4', 'int', 'int', ['-1', '0', '1', '2', '2147483647']),
  col('i8', 'int8', 'int8', ['-9223372036854775808', '0', '9223372036854775807', '9007199254740993'], ['9007199254740992']),
  col('num', 'numeric', 'numeric', ['0', '1.5', '1.50', '-1.5', '1e20', 'NaN', 'Infinity', '0.1'], ['1.500', '-0', '-Infinity']),
  col('num2', 'numeric(6,2)', 'numeric', ['0', '1.50', '-1.5', '2.35'], ['2.351', '1.499', '99999.99']),
  col('f4', 'float4', 'float4', ['0', '0.1', '-0', '1e10', 'NaN', '-Infinity'], ['0.10']),
  col('f8', 'float8', 'float8', ['0', '0.1', '-0', '1e300', 'NaN', 'Infinity', '0.30000000000000004'], ['0.3']),
  col('b', 'bool', 'bool', ['t', 'f'], ['true', 'no', '1']),
  col('t', 'text', 'text', texts, [], true),
  col('tc', 'text collate "C"', 'text', texts, [], true),
  col('ti', 'text collate "en-x-icu"', 'text', texts, [], true),
  col('nc', 'text collate nocase', 'text', texts, [], true),
  col('v', 'varchar(4)', 'varchar', short, texts, true),
  col('ch', 'char(4)', 'bpchar', short, ['ab  ', 'ab   ', 'abcde', ...texts], true),
  col('nm', 'name', 'name', texts, [], true),
  col('ci', 'extensions.citext', 'extensions.citext', texts),
  col('u', 'uuid', 'uuid', ['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '00000000-0000-0000-0000-000000000000'], ['A0EEBC999C0B4EF8BB6D6BB9BD380A11']),
  col('d', 'date', 'date', times, ['March 1, 2024']),
  col('tm', 'time', 'time', ['00:00', '12:00', '12:00:00.5', '24:00'], ['12:00 PM']),
  col('tz', 'timetz', 'timetz', ['00:00+00', '12:00+02', '10:00+00']),
  col('ts', 'timestamp', 'timestamp', stamps, ['2024-02-29T12:00:00Z']),
  col('ts0', 'timestamp(0)', 'timestamp', stamps, ['2024-02-29 12:00:00.4']),
  col('tstz', 'timestamptz', 'timestamptz', stamps, ['2024-02-29 14:00:00+02']),
  col('iv', 'interval', 'interval', ['1 day', '24:00:00', '1 mon', '30 days'], ['P1D']),
  col('by', 'bytea', 'bytea', ['\\x', '\\x00', '\\xdead', '\\xde'], ['a']),
  col('m', 'mood', 'mood', ['sad', 'ok', 'happy']),
  col('ds', 'small', 'int', ['1', '7', '10'], ['5000']),
  col('dv', 'short', 'varchar', short, texts, true),
  col('ar', 'int[]', 'int[]', ['{}', '{1}', '{1,2}', '{1,NULL}'], ['{2}']),
  col('at', 'text[]', 'text[]', ['{}', '{a}', '{a,"b,c"}']),
  col('rg', 'int4range', 'int4range', ['empty', '[1,5)', '[1,)'], ['[1,4]']),
  col('ip', 'inet', 'inet', ['10.0.0.1', '10.0.0.0/8', '::1']),
  col('mac', 'macaddr', 'macaddr', ['08:00:2b:01:02:03', '08:00:2b:01:02:04']),
  col('jb', 'jsonb', 'jsonb', ['{}', '1', '"a"', '{"a": 1}', 'null'], ['{"a":1.0}']),
  col('j', 'json', 'json', ['{}', '1']),
  col('bt', 'bit(4)', '"bit"', ['1010', '0000'], ['10']),
  col('mo', 'money', 'money', ['1.25', '0']),
  col('o', 'oid', 'oid', ['0', '4294967295']),
  col('pt', 'point', 'point', ['(1,2)']),
  col('pa', 'pair', 'pair', ['(1,a)', '(1,)', '(2,"x y")', '(,)']),
]
const ops = { eq: '=', neq: '<>', lt: '<', lte: '<=', gt: '>', gte: '>=', in: '= any', like: 'like', ilike: 'ilike', is: 'is', match: '~', imatch: '~*', isdistinct: 'is distinct from' }

/** A condition: { column, op, negated, value }, value a list for `in` (null: NULL). */
export function condition(rng) {
  const op = rng.pick(Object.keys(ops))
  const pattern = /like|match/.test(op)
  const texty = columns.filter((c) => c.text || c.name === 'ci')
  const column = rng.pick(pattern && rng.below(10) > 0 ? texty : columns)
  const value = op === 'is' ? rng.pick(column.type === 'bool' ? ['null', 'true', 'false', 'unknown'] : ['null'])
    : op === 'in' ? [...Array(rng.below(4)).keys()].map(() => rng.below(8) === 0 ? null : column.operand(rng))
      : /match/.test(op) ? rng.pick(regexes) : pattern ? rng.pick(patterns) : column.operand(rng)
  return { column, op, value, negated: rng.below(3) === 0 }
}

const inQuotes = (v) => `"${v.replace(/["\\]/g, '\\$&')}"`

/** Gives a function that writes a condition as a client does; quotes stand where they must, and sometimes elsewhere. */
export const filterText = (rng) => ({ column, op, value, negated }) => {
  const written = (v) => /["\\,()\s{}]/.test(v) || rng.below(4) === 0 ? inQuotes(v) : v
  const element = (v) => v === null ? 'NULL' : v === '' || /^null$/i.test(v) ? inQuotes(v) : written(v)
  return `${column.name}=${negated ? 'not.' : ''}${op}.${op === 'in' ? `(${value.map(element).join(',')})` : written(value)}`
}

/** The condition as SQL. Texts of every kind are compared with patterns as text. */
export const sqlText = ({ column, op, value, negated }) => {
  const left = column.text && /like|match/.test(op) ? `${column.name}::text` : column.name
  const right = op === 'is' ? value
    : op === 'in' ? `(array[${value.map((v) => v === null ? 'null' : quote(v)).join(',')}]::${column.type}[])`
      : /like|match/.test(op) ? quote(value) : `${quote(value)}::${column.type}`
  if (op === 'is') return `(${left} is ${negated ? 'not ' : ''}${right})`
  return `${negated ? 'not ' : ''}(${left} ${ops[op]} ${right})`
}
