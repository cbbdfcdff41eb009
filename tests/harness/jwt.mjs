// SPDX-License-Identifier: Apache-2.0
// Tokens for the tests, made without the code under test.
import { createHmac, sign as asymmetric } from 'node:crypto'

const b64 = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')

export const now = () => Math.floor(Date.now() / 1000)

/** sign({role, …}, secret): HS256, valid one hour unless `exp` is given (undefined removes it). */
export function sign(claims, key, { alg = 'HS256', kid, typ = 'JWT' } = {}) {
  const body = { iat: now(), exp: now() + 3600, ...claims }
  for (const name of Object.keys(body)) if (body[name] === undefined) delete body[name]
  const input = `${b64({ alg, typ, ...(kid && { kid }) })}.${b64(body)}`
  return `${input}.${signature(alg, input, key)}`
}

function signature(alg, input, key) {
  if (alg === 'none') return ''
  if (alg.startsWith('HS')) return createHmac(`sha${alg.slice(2)}`, key).update(input).digest('base64url')
  if (alg.startsWith('ES')) return asymmetric(`sha${alg.slice(2)}`, Buffer.from(input), { key, dsaEncoding: 'ieee-p1363' }).toString('base64url')
  if (alg.startsWith('RS')) return asymmetric(`sha${alg.slice(2)}`, Buffer.from(input), key).toString('base64url')
  return asymmetric(null, Buffer.from(input), key).toString('base64url')
}
