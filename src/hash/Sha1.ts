/**
 * SHA-1 (RFC 3174, FIPS 180-4) in plain code that returns at once, for short inputs in the middle of synchronous work: a
 * page has only an asynchronous one. Pieces are digested by a `PieceHasher`, which is much faster.
 */

const blockLength = 64

const initial = [0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0] as const

/** For each of the four rounds of 20 steps, what is added. */
const constants = [0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6] as const

/** The input with its padding: 0x80, zeros, and its length in bits as a u64. */
const padded = (parts: ReadonlyArray<Uint8Array>): DataView => {
  let length = 0
  for (const part of parts) length += part.length
  const bytes = new Uint8Array(Math.ceil((length + 9) / blockLength) * blockLength)
  let end = 0
  for (const part of parts) {
    bytes.set(part, end)
    end += part.length
  }
  bytes[length] = 0x80
  const view = new DataView(bytes.buffer)
  view.setUint32(bytes.length - 8, Math.floor(length / 0x20000000))
  view.setUint32(bytes.length - 4, length << 3)
  return view
}

const rotate = (word: number, bits: number): number => (word << bits) | (word >>> (32 - bits))

/** Mixes three words, as each round does in its own way. */
const mix = (round: number, b: number, c: number, d: number): number => {
  if (round === 0) return (b & c) | (~b & d)
  return round === 2 ? (b & c) | (b & d) | (c & d) : b ^ c ^ d
}

/** Computes the digest of the parts, one after the other: 20 bytes. */
export const digest = (...parts: ReadonlyArray<Uint8Array>): Uint8Array<ArrayBuffer> => {
  const input = padded(parts)
  const hash = Int32Array.from(initial)
  const words = new Int32Array(80)
  for (let begin = 0; begin < input.byteLength; begin += blockLength) {
    for (let at = 0; at < 16; at++) words[at] = input.getInt32(begin + 4 * at)
    for (let at = 16; at < 80; at++) {
      words[at] = rotate(words[at - 3]! ^ words[at - 8]! ^ words[at - 14]! ^ words[at - 16]!, 1)
    }
    let [a, b, c, d, e] = hash as unknown as [number, number, number, number, number]
    for (let at = 0; at < 80; at++) {
      const round = Math.floor(at / 20)
      const next = (rotate(a, 5) + mix(round, b, c, d) + e + constants[round]! + words[at]!) | 0
      e = d
      d = c
      c = rotate(b, 30)
      b = a
      a = next
    }
    hash[0]! += a
    hash[1]! += b
    hash[2]! += c
    hash[3]! += d
    hash[4]! += e
  }
  const result = new Uint8Array(20)
  const view = new DataView(result.buffer)
  hash.forEach((word, index) => void view.setInt32(4 * index, word))
  return result
}
