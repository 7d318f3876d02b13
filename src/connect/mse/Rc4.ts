/**
 * The stream cipher RC4, as Message Stream Encryption uses it: without the first 1,024 bytes of the key stream. It only
 * hides the protocol from whoever looks at the traffic. It is no protection of secrets (RFC 7465).
 *
 * Hot path: called for every chunk in each direction (`test/bench/Mse.bench.ts`). Short chunks are coded by plain code,
 * and longer ones by `Rc4Module.ts`, which is faster.
 */
import * as Rc4Module from "./Rc4Module.ts"

/** How many bytes of the key stream are dropped: they reveal most about the key. */
export const droppedBytes = 1_024

/** One direction of a connection. Its position moves with every byte. */
export interface Rc4 {
  /** A permutation of 0 to 255, and behind it the indexes `i` and `j`; each times 4, as it is an offset in the module. */
  readonly words: Uint32Array
}

/** Makes a cipher at the start of its key stream. The key has 5 to 256 bytes. */
export const makeUndropped = (key: Uint8Array): Rc4 => {
  const words = Uint32Array.from({ length: 258 }, (_, index) => (index < 256 ? 4 * index : 0))
  let j = 0
  for (let i = 0; i < 256; i++) {
    const word = words[i]!
    j = (j + (word >> 2) + key[i % key.length]!) & 255
    words[i] = words[j]!
    words[j] = word
  }
  return { words }
}

/** Makes a cipher that has dropped `droppedBytes`. The key has 5 to 256 bytes. */
export const make = (key: Uint8Array): Rc4 => {
  const self = makeUndropped(key)
  const dropped = new Uint8Array(droppedBytes)
  apply(self, dropped, dropped)
  return self
}

/** Shorter chunks cost less in plain code, because the words need not be copied. */
const minModuleBytes = 256

/** Made by the first chunk that is long enough; `undefined` if there is none here. */
let module: { readonly made: Rc4Module.Rc4Module | undefined } | undefined

/**
 * Encrypts or decrypts `source` into the start of `target`, which may be the same memory. Afterwards the cipher is as
 * many bytes farther.
 */
export const apply = (self: Rc4, source: Uint8Array, target: Uint8Array): void => {
  if (source.length < minModuleBytes) return applyPlain(self, source, target)
  module ??= { made: Rc4Module.make() }
  if (module.made === undefined) applyPlain(self, source, target)
  else applyModule(module.made, self, source, target)
}

/** The same by a module. */
export const applyModule = (
  { run, window, words }: Rc4Module.Rc4Module,
  self: Rc4,
  source: Uint8Array,
  target: Uint8Array
): void => {
  const { length } = source
  words.set(self.words)
  for (let begin = 0; begin < length; begin += Rc4Module.windowBytes) {
    const part = Math.min(Rc4Module.windowBytes, length - begin)
    window.set(part === length ? source : source.subarray(begin, begin + part))
    run(part)
    target.set(part === window.length ? window : window.subarray(0, part), begin)
  }
  self.words.set(words)
}

/** The same in plain code. */
export const applyPlain = ({ words }: Rc4, source: Uint8Array, target: Uint8Array): void => {
  const { length } = source
  let [i, j] = [words[256]!, words[257]!]
  for (let at = 0; at < length; at++) {
    i = (i + 4) & 1_020
    const one = words[i >> 2]!
    j = (j + one) & 1_020
    const other = words[j >> 2]!
    words[i >> 2] = other
    words[j >> 2] = one
    target[at] = source[at]! ^ (words[((one + other) & 1_020) >> 2]! >> 2)
  }
  words[256] = i
  words[257] = j
}
