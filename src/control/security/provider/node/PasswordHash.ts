/**
 * Hashes of passwords by scrypt (RFC 7914), as a line of text in the PHC string format:
 * `$scrypt$ln=17,r=8,p=1$SALT$HASH`, in base64 without padding. The parameters are in the line, so that they can be
 * raised without making old lines useless.
 */
import * as Crypto from "node:crypto"

/** How much a hash costs: 2^`ln` times `r` times 128 bytes of memory, and `p` times that in time. */
export interface Cost {
  readonly ln: number
  readonly r: number
  readonly p: number
}

/** 128 MiB and some 0.4 s. The OWASP Password Storage Cheat Sheet recommends it (N = 2^17, r = 8, p = 1). */
export const defaultCost: Cost = { ln: 17, r: 8, p: 1 }

/** A hash with what it was made with. */
export interface PasswordHash {
  readonly cost: Cost
  readonly salt: Uint8Array
  readonly hash: Uint8Array
}

/** Bytes of a new salt and of a new hash. */
const saltLength = 16
const hashLength = 32

/** The most memory for one hash, in bytes: a line that needs more is refused, so that it cannot take all memory. */
const maxMemory = 1 << 30

const memoryOf = ({ ln, r }: Cost): number => 128 * r * 2 ** ln

const line = /^\$scrypt\$ln=(\d{1,2}),r=(\d{1,2}),p=(\d{1,2})\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{43,86})\n?$/

/** Reads a line; `undefined` if it is none, or if checking a password would cost too much. */
export const parse = (text: string): PasswordHash | undefined => {
  const match = line.exec(text)
  if (match === null) return undefined
  const [ln, r, p] = [Number(match[1]), Number(match[2]), Number(match[3])]
  const isBounded = ln >= 1 && r >= 1 && p >= 1 && p <= 16 && memoryOf({ ln, r, p }) <= maxMemory
  const [salt, hash] = [Buffer.from(match[4]!, "base64"), Buffer.from(match[5]!, "base64")]
  return isBounded ? { cost: { ln, r, p }, salt, hash } : undefined
}

const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64").replace(/=+$/, "")

/** The line of a hash. */
export const format = ({ cost: { ln, p, r }, hash, salt }: PasswordHash): string =>
  `$scrypt$ln=${ln},r=${r},p=${p}$${base64(salt)}$${base64(hash)}\n`

/** Runs scrypt in a thread of libuv's pool. */
const scrypt = (password: Uint8Array, salt: Uint8Array, length: number, cost: Cost): Promise<Uint8Array> =>
  new Promise((resolve, reject) => {
    // OpenSSL wants a little more than the memory of the algorithm itself.
    const options = {
      N: 2 ** cost.ln,
      r: cost.r,
      p: cost.p,
      maxmem: memoryOf(cost) + 128 * cost.r * (cost.p + 2) + 65_536
    }
    Crypto.scrypt(password, salt, length, options, (error, hash) => (error === null ? resolve(hash) : reject(error)))
  })

/** Hashes a password with a new salt. */
export const make = async (password: Uint8Array, cost: Cost): Promise<PasswordHash> => {
  const salt = Crypto.randomBytes(saltLength)
  return { cost, salt, hash: await scrypt(password, salt, hashLength, cost) }
}

/** Whether a password has a hash. */
export const matches = async (password: Uint8Array, { cost, hash, salt }: PasswordHash): Promise<boolean> =>
  Crypto.timingSafeEqual(await scrypt(password, salt, hash.length, cost), hash)
