/**
 * Tokens (BEP 5): whoever announces must show that it receives what is sent to its address. A token holds for one host
 * and one info hash, for five to ten minutes, and nothing is stored for it.
 */
import * as Bytes from "../../base/Bytes.ts"
import * as Sha1 from "../../hash/Sha1.ts"

/** How long a secret makes tokens, in milliseconds. Those of the previous secret are accepted too. */
export const secretMillis = 300_000

/** Bytes of a token. */
export const length = 8

/** Bytes of a secret. */
const secretLength = 20

/** The secrets of a node. */
export interface Tokens {
  /** Returns that many bytes that nobody can predict. */
  readonly entropy: (length: number) => Uint8Array
  current: Uint8Array
  previous: Uint8Array
  /** When `current` was made, in milliseconds. */
  since: number
}

/** Makes the first secret. */
export const make = (entropy: (length: number) => Uint8Array, now: number): Tokens => ({
  entropy,
  current: entropy(secretLength),
  previous: entropy(secretLength),
  since: now
})

/** The token of a host for a hash. */
export const issue = (self: Tokens, host: string, infoHash: Uint8Array, now: number): Uint8Array => {
  rotate(self, now)
  return tokenOf(self.current, host, infoHash)
}

/** Whether a token was issued to this host for this hash, lately. */
export const isValid = (self: Tokens, token: Uint8Array, host: string, infoHash: Uint8Array, now: number): boolean => {
  rotate(self, now)
  return (
    Bytes.equals(token, tokenOf(self.current, host, infoHash)) ||
    Bytes.equals(token, tokenOf(self.previous, host, infoHash))
  )
}

const rotate = (self: Tokens, now: number): void => {
  const age = now - self.since
  if (age < secretMillis) return
  self.previous = age < 2 * secretMillis ? self.current : self.entropy(secretLength)
  self.current = self.entropy(secretLength)
  self.since = now
}

const tokenOf = (secret: Uint8Array, host: string, infoHash: Uint8Array): Uint8Array =>
  Sha1.digest(secret, infoHash, Bytes.fromText(host)).subarray(0, length)
