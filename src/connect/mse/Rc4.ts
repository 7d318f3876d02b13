/**
 * The stream cipher RC4, as Message Stream Encryption uses it: without the first 1,024 bytes of the key stream. It only
 * hides the protocol from whoever looks at the traffic. It is no protection of secrets (RFC 7465).
 *
 * Hot path: called for every chunk in each direction (`test/bench/Mse.bench.ts`).
 */

/** How many bytes of the key stream are dropped: they reveal most about the key. */
export const droppedBytes = 1_024

/** One direction of a connection. Its position moves with every byte. */
export interface Rc4 {
  /** A permutation of 0 to 255. */
  readonly state: Uint8Array
  i: number
  j: number
}

/** Makes a cipher at the start of its key stream. The key has 5 to 256 bytes. */
export const makeUndropped = (key: Uint8Array): Rc4 => {
  const state = Uint8Array.from({ length: 256 }, (_, index) => index)
  let j = 0
  for (let i = 0; i < 256; i++) {
    const value = state[i]!
    j = (j + value + key[i % key.length]!) & 255
    state[i] = state[j]!
    state[j] = value
  }
  return { state, i: 0, j: 0 }
}

/** Makes a cipher that has dropped `droppedBytes`. The key has 5 to 256 bytes. */
export const make = (key: Uint8Array): Rc4 => {
  const self = makeUndropped(key)
  const dropped = new Uint8Array(droppedBytes)
  apply(self, dropped, dropped)
  return self
}

/**
 * Encrypts or decrypts `source` into the start of `target`, which may be the same memory. Afterwards the cipher is as
 * many bytes farther.
 */
export const apply = (self: Rc4, source: Uint8Array, target: Uint8Array): void => {
  const { state } = self
  const { length } = source
  let { i, j } = self
  for (let at = 0; at < length; at++) {
    i = (i + 1) & 255
    const one = state[i]!
    j = (j + one) & 255
    const other = state[j]!
    state[i] = other
    state[j] = one
    target[at] = source[at]! ^ state[(one + other) & 255]!
  }
  self.i = i
  self.j = j
}
