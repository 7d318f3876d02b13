/**
 * What the two sides of a Message Stream Encryption handshake have in common.
 *
 * 1. Dialling side: its public key (96 bytes), padding (0 to 512 random bytes).
 * 2. Accepting side: the same.
 * 3. Dialling side: `MseKeys.mark`, the masked name of the torrent (20 bytes each); encrypted: 8 zeros, the methods that
 *    it offers (u32), padding with its length before it (u16), the first payload with its length before it (u16).
 * 4. Accepting side, encrypted: 8 zeros, the method that it has chosen (u32), padding with its length before it (u16).
 *
 * Afterwards both directions are plain, or continue to be encrypted with the same ciphers. Numbers are big-endian.
 */
import * as Bytes from "../../base/Bytes.ts"
import { NotIntroduced } from "../NotIntroduced.ts"
import type { RandomBytes } from "./DiffieHellman.ts"
import * as DiffieHellman from "./DiffieHellman.ts"
import * as Rc4 from "./Rc4.ts"

/** Bits of the methods for what follows the handshake. */
export const method = { plain: 1, rc4: 2 } as const

/** Both methods. */
export const anyMethod = method.plain | method.rc4

/** The most bytes of each of the four paddings. */
export const maxPadding = 512

/** Zeros whose encryption shows that both sides have the same ciphers. */
export const verification = new Uint8Array(8)

/** The end of a handshake. */
export interface Established {
  /** What encrypts and decrypts what follows; `undefined` if it is plain. */
  readonly send: Rc4.Rc4 | undefined
  readonly receive: Rc4.Rc4 | undefined
  /** The first bytes of what the peer sends after the handshake, decrypted. */
  readonly rest: Uint8Array
}

/** 0 to `maxPadding` random bytes. */
export const padding = (random: RandomBytes): Uint8Array =>
  random(Bytes.readUint16Unsafe(random(2), 0) % (maxPadding + 1))

/** A u16 or a u32. */
export const number = (length: 2 | 4, value: number): Uint8Array => {
  const bytes = new Uint8Array(length)
  if (length === 2) Bytes.writeUint16Unsafe(bytes, 0, value)
  else Bytes.writeUint32Unsafe(bytes, 0, value)
  return bytes
}

/** Computes the shared secret. Throws `NotIntroduced` if the key of the peer is degenerate. */
export const agree = (
  diffieHellman: DiffieHellman.DiffieHellman,
  privateKey: Uint8Array,
  theirs: Uint8Array
): Uint8Array => {
  if (DiffieHellman.isDegenerate(theirs)) throw new NotIntroduced({ reason: "degenerate key" })
  return diffieHellman.agree(privateKey, theirs)
}

/** What has arrived and was not read yet. Collecting it takes time in proportion to its length, however it is cut. */
export interface Arrived {
  buffer: Uint8Array
  /** Where in `buffer` it begins and ends. */
  begin: number
  end: number
  /** How many bytes of padding were searched for a mark in vain. */
  searched: number
}

/** Makes it empty. */
export const makeArrived = (): Arrived => ({ buffer: new Uint8Array(0), begin: 0, end: 0, searched: 0 })

/** The bytes, valid until the next `push`. */
export const bytesOf = ({ begin, buffer, end }: Arrived): Uint8Array => buffer.subarray(begin, end)

/** Adds a chunk, which is copied. */
export const push = (self: Arrived, chunk: Uint8Array): void => {
  if (self.end + chunk.length > self.buffer.length) {
    const bytes = bytesOf(self)
    self.buffer = new Uint8Array(Math.max(2 * bytes.length, bytes.length + chunk.length))
    self.buffer.set(bytes)
    self.begin = 0
    self.end = bytes.length
  }
  self.buffer.set(chunk, self.end)
  self.end += chunk.length
}

/**
 * Adds a chunk to what has arrived, and goes from state to state. `step` returns the next state, or the end of the
 * handshake, which is returned; `undefined` until more has arrived.
 */
export const advance = <State extends { readonly _tag: string }, End extends Established>(
  self: { readonly arrived: Arrived; state: State },
  chunk: Uint8Array,
  step: () => State | End | undefined
): End | undefined => {
  push(self.arrived, chunk)
  while (true) {
    const next = step()
    if (next === undefined || !("_tag" in next)) return next
    self.state = next
  }
}

/** Takes the first `length` bytes, decrypted in place if there is a cipher; `undefined` until they have arrived. */
export const take = (self: Arrived, length: number, cipher?: Rc4.Rc4): Uint8Array | undefined => {
  if (self.end - self.begin < length) return undefined
  const taken = self.buffer.subarray(self.begin, self.begin + length)
  self.begin += length
  if (cipher !== undefined) applyInPlace(cipher, taken)
  return taken
}

/**
 * Skips padding and the mark behind it; `false` until the mark has arrived. Throws `NotIntroduced` once it cannot come
 * within `maxPadding` any more.
 */
export const skipPast = (self: Arrived, mark: Uint8Array): boolean => {
  const bytes = bytesOf(self)
  const last = Math.min(maxPadding, bytes.length - mark.length)
  for (; self.searched <= last; self.searched++) {
    if (!Bytes.equals(bytes.subarray(self.searched, self.searched + mark.length), mark)) continue
    self.begin += self.searched + mark.length
    return true
  }
  if (last === maxPadding) throw new NotIntroduced({ reason: "no mark" })
  return false
}

/** Reads the length of padding. Throws `NotIntroduced` if it is above the limit. */
export const paddingLength = (bytes: Uint8Array, offset: number): number => {
  const length = Bytes.readUint16Unsafe(bytes, offset)
  if (length > maxPadding) throw new NotIntroduced({ reason: "long padding" })
  return length
}

/** Encrypts or decrypts bytes where they are. */
export const applyInPlace = (cipher: Rc4.Rc4, bytes: Uint8Array): void => Rc4.apply(cipher, bytes, bytes)
