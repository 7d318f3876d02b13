/**
 * Bloom filters of IP addresses (BEP 33): sets of which only the size can be estimated. Those of several nodes are
 * joined without counting an address twice.
 */
import * as Sha1 from "../../hash/Sha1.ts"

/** A filter: `length` bytes. */
export type BloomFilter = Uint8Array

/** Bytes in a filter. */
export const length = 256

const bits = length * 8

/** Bits that an address sets. */
const hashes = 2

/** An empty filter. */
export const make = (): BloomFilter => new Uint8Array(length)

/** Adds an address of 4 or 16 bytes. */
export const add = (self: BloomFilter, ip: Uint8Array): void => {
  const digest = Sha1.digest(ip)
  for (let at = 0; at < hashes * 2; at += 2) {
    const bit = (digest[at]! | (digest[at + 1]! << 8)) % bits
    self[bit >>> 3] = self[bit >>> 3]! | (1 << (bit & 7))
  }
}

/** Adds all addresses of `that`, which has `length` bytes. */
export const addAll = (self: BloomFilter, that: Uint8Array): void => {
  for (let index = 0; index < length; index++) self[index] = self[index]! | that[index]!
}

/** About how many addresses were added; about 7,800 at most, because a full filter says no more. */
export const estimate = (self: Uint8Array): number => {
  let zeros = 0
  for (const byte of self) for (let bit = 0; bit < 8; bit++) if (((byte >>> bit) & 1) === 0) zeros++
  return zeros === bits ? 0 : Math.log(Math.max(zeros, 1) / bits) / (hashes * Math.log1p(-1 / bits))
}
