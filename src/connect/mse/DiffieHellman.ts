/**
 * The Diffie-Hellman key agreement of Message Stream Encryption: over a prime of 768 bits, with the generator 2.
 *
 * Both operations return at once: one takes about 0.1 ms with big integers, and half of that with Node's OpenSSL
 * (`provider/node/NodeDiffieHellman.ts`), less than a hand-over to another thread and back.
 */
import * as Context from "effect/Context"
import * as Bytes from "../../base/Bytes.ts"

/** Bytes of a public key and of a shared secret. */
export const keyLength = 96

/** Bytes of a private key: 160 bits, as the specification recommends. More add nothing. */
export const privateKeyLength = 20

/** The prime, in hexadecimal digits. Its first 84 bytes are those of group 1 of IKE (RFC 2409 section 6.1). */
export const primeHex =
  "ffffffffffffffffc90fdaa22168c234c4c6628b80dc1cd129024e088a67cc74" +
  "020bbea63b139b22514a08798e3404ddef9519b3cd3a431b302b0a6df25f1437" +
  "4fe1356d6d51c245e485b576625e7ec6f44c42e9a63a36210000000000090563"

const primeBytes = Bytes.fromHex(primeHex)!

/** What computes keys. */
export interface DiffieHellman {
  /** The public key of a private key: `2 ^ privateKey mod prime`, 96 bytes. */
  readonly publicKey: (privateKey: Uint8Array) => Uint8Array
  /** The secret that both sides share: `theirs ^ privateKey mod prime`, 96 bytes. `theirs` is not degenerate. */
  readonly agree: (privateKey: Uint8Array, theirs: Uint8Array) => Uint8Array
}

/**
 * Whether a public key, 96 bytes, is one that makes the secret known to everybody: 0, 1, or the prime less 1. So is one
 * that is no number below the prime.
 */
export const isDegenerate = (key: Uint8Array): boolean => {
  const last = keyLength - 1
  const rest = key.subarray(0, last)
  if (key[last]! <= 1 && rest.every((byte) => byte === 0)) return true
  for (let at = 0; at < last; at++) if (key[at] !== primeBytes[at]) return key[at]! > primeBytes[at]!
  return key[last]! >= primeBytes[last]! - 1
}

const prime = BigInt(`0x${primeHex}`)

const toNumber = (bytes: Uint8Array): bigint => BigInt(`0x${Bytes.toHex(bytes)}`)

const toBytes = (number: bigint): Uint8Array => Bytes.fromHex(number.toString(16).padStart(2 * keyLength, "0"))!

/** `base ^ exponent mod prime`, by squaring. */
const power = (base: bigint, exponent: bigint): bigint => {
  let result = 1n
  let square = base
  for (let rest = exponent; rest > 0n; rest >>= 1n) {
    if ((rest & 1n) === 1n) result = (result * square) % prime
    square = (square * square) % prime
  }
  return result
}

/** Computes with big integers, which every platform has. */
export const bigInt: DiffieHellman = {
  publicKey: (privateKey) => toBytes(power(2n, toNumber(privateKey))),
  agree: (privateKey, theirs) => toBytes(power(toNumber(theirs), toNumber(privateKey)))
}

/** What computes the keys of connections; default `bigInt`. */
export const DiffieHellman = Context.Reference<DiffieHellman>("piecewise/connect/DiffieHellman", {
  defaultValue: () => bigInt
})

/** Returns so many random bytes. */
export type RandomBytes = (length: number) => Uint8Array

/** What private keys and padding are drawn from; default the platform's secure source. Simulations have a seeded one. */
export const RandomBytes = Context.Reference<RandomBytes>("piecewise/connect/RandomBytes", {
  defaultValue: () => (length) => crypto.getRandomValues(new Uint8Array(length))
})
