/**
 * RC4 as a WebAssembly module, assembled below when it is first needed. One module serves all ciphers of a thread: it
 * works on the words of the cipher and on the bytes, which are copied into its memory and back. With these copies it
 * takes 0.93 s of CPU for a GiB in blocks of 16 KiB where plain code takes 1.4 s, and 1.6 s in longer chunks (Node 24,
 * AMD EPYC): it has no checks of bounds, and XORs 8 bytes at once.
 *
 * Memory, one page of 64 KiB: from 0, the words of the cipher (`Rc4.Rc4`); from `windowAt` to the end, bytes.
 */

/** Where the bytes are in the memory, and how many it takes at once. */
export const windowAt = 2_048
export const windowBytes = 65_536 - windowAt

/** The module and its memory. */
export interface Rc4Module {
  readonly words: Uint32Array
  readonly window: Uint8Array
  /** Encrypts or decrypts the first `length` bytes of `window` with the cipher in `words`, which moves. */
  readonly run: (length: number) => void
}

type Code = ReadonlyArray<number>

/** Bytes that are coded in one pass of the inner loop. It begins where the index `i` is a multiple of it. */
const passBytes = 32

/** The index of a word is kept as its offset in bytes, so this is that of the last one. */
const lastOffset = 1_020

/** The offsets of `i` and `j` in the memory, behind the 256 words of the permutation. */
const [iAt, jAt] = [1_024, 1_028]

/** The parameter, and the variables of the function. All but the last are i32. */
const [length, at, end, i, j, iOffset, jOffset, one, other, eight] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] as const

/** Numbers in LEB128, which are not negative. */
const unsigned = (value: number): Code =>
  value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(Math.floor(value / 0x80))]
const signed = (value: number): Code =>
  value < 0x40 ? [value] : [(value & 0x7f) | 0x80, ...signed(Math.floor(value / 0x80))]

// Instructions, by their names in the text format.
const get = (variable: number): Code => [0x20, variable]
const set = (variable: number, value: Code): Code => [...value, 0x21, variable]
const tee = (variable: number, value: Code): Code => [...value, 0x22, variable]
const i32 = (value: number): Code => [0x41, ...signed(value)]
const i64 = (value: number): Code => [0x42, ...signed(value)]
const add = (a: Code, b: Code): Code => [...a, ...b, 0x6a]
const sub = (a: Code, b: Code): Code => [...a, ...b, 0x6b]
const and = (a: Code, b: Code): Code => [...a, ...b, 0x71]
const or = (a: Code, b: Code): Code => [...a, ...b, 0x72]
const xor = (a: Code, b: Code): Code => [...a, ...b, 0x73]
const shiftRight = (a: Code, bits: number): Code => [...a, ...i32(bits), 0x76]
const isBelow = (a: Code, b: Code): Code => [...a, ...b, 0x49]
const isZero = (a: Code): Code => [...a, 0x45]
const load = (address: Code, offset = 0): Code => [...address, 0x28, 2, ...unsigned(offset)]
const load8 = (address: Code): Code => [...address, 0x2d, 0, 0]
const store = (address: Code, value: Code, offset = 0): Code => [...address, ...value, 0x36, 2, ...unsigned(offset)]
const store8 = (address: Code, value: Code): Code => [...address, ...value, 0x3a, 0, 0]
const load64 = (address: Code, offset: number): Code => [...address, 0x29, 0, ...unsigned(offset)]
const store64 = (address: Code, value: Code, offset: number): Code => [
  ...address,
  ...value,
  0x37,
  0,
  ...unsigned(offset)
]
const extend = (a: Code): Code => [...a, 0xad]
const or64 = (a: Code, b: Code): Code => [...a, ...b, 0x84]
const xor64 = (a: Code, b: Code): Code => [...a, ...b, 0x85]
const shiftLeft64 = (a: Code, bits: number): Code => [...a, ...i64(bits), 0x86]
const shiftRight64 = (a: Code, bits: number): Code => [...a, ...i64(bits), 0x88]

const masked = (offset: Code): Code => and(offset, i32(lastOffset))

/** Swaps the word at `iOffset`, so many bytes behind it, with the one that `j` moves to. `j` itself is not masked. */
const swap = (offset: number): Code => [
  ...set(one, load(get(iOffset), offset)),
  ...set(j, add(get(j), get(one))),
  ...set(other, load(tee(jOffset, masked(get(j))))),
  ...store(get(jOffset), get(one)),
  ...store(get(iOffset), get(other), offset)
]

/** The word that the last swap has chosen: a byte of the key stream, times 4. */
const chosen = load(masked(add(get(one), get(other))))

/** The byte of the key stream in the place that it has among 8. */
const placed = (byte: number): Code =>
  byte === 0 ? shiftRight64(extend(chosen), 2) : shiftLeft64(extend(chosen), 8 * byte - 2)

/** Codes `passBytes` from `at`. `iOffset` is that of the first. */
const pass = (): Code => {
  const code: Array<number> = []
  for (let step = 0; step < passBytes; step++) {
    const byte = step % 8
    const begin = step - byte
    code.push(...swap(4 * step))
    code.push(...set(eight, byte === 0 ? placed(0) : or64(get(eight), placed(byte))))
    if (byte === 7) code.push(...store64(get(at), xor64(load64(get(at), begin), get(eight)), begin))
  }
  return code
}

/** What ends a loop with no value, and the way back to its start from so many blocks inside. */
const blockType = 0x40
const endOf = 0x0b
const branch = (depth: number): Code => [0x0c, depth]
const branchIf = (condition: Code, depth: number): Code => [...condition, 0x0d, depth]

const isPassPossible = isZero(
  or(and(get(iOffset), i32(4 * (passBytes - 1))), isBelow(sub(get(end), get(at)), i32(passBytes)))
)

const body = (): Code => [
  ...set(at, i32(windowAt)),
  ...set(end, add(i32(windowAt), get(length))),
  ...set(i, load(i32(0), iAt)),
  ...set(j, load(i32(0), jAt)),
  ...[0x02, blockType],
  ...[0x03, blockType],
  ...branchIf(isZero(isBelow(get(at), get(end))), 1),
  ...set(iOffset, masked(add(get(i), i32(4)))),
  ...isPassPossible,
  ...[0x04, blockType],
  ...pass(),
  ...set(i, add(get(iOffset), i32(4 * (passBytes - 1)))),
  ...set(at, add(get(at), i32(passBytes))),
  ...branch(1),
  endOf,
  ...set(i, get(iOffset)),
  ...swap(0),
  ...store8(get(at), xor(load8(get(at)), shiftRight(chosen, 2))),
  ...set(at, add(get(at), i32(1))),
  ...branch(0),
  endOf,
  endOf,
  ...store(i32(0), get(i), iAt),
  ...store(i32(0), masked(get(j)), jAt),
  endOf
]

const sized = (code: Code): Code => [...unsigned(code.length), ...code]
const section = (id: number, code: Code): Code => [id, ...sized(code)]
const name = (text: string): Code => sized([...text].map((letter) => letter.charCodeAt(0)))

const [typeI32, typeI64] = [0x7f, 0x7e]

/** The module: a function of one i32, and one page of memory, both exported. */
const assemble = (): Uint8Array<ArrayBuffer> =>
  Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(1, [1, 0x60, 1, typeI32, 0]),
    ...section(3, [1, 0]),
    ...section(5, [1, 1, 1, 1]),
    ...section(7, [2, ...name("run"), 0, 0, ...name("memory"), 2, 0]),
    ...section(10, [1, ...sized([2, eight - 1, typeI32, 1, typeI64, ...body()])])
  ])

/** The part of the global `WebAssembly` that is used. The types of the core name no platform. */
interface Platform {
  readonly Module: new (bytes: Uint8Array<ArrayBuffer>) => object
  readonly Instance: new (
    module: object
  ) => { readonly exports: { readonly run: Rc4Module["run"]; readonly memory: { readonly buffer: ArrayBuffer } } }
}

/** Makes it; `undefined` if there is no WebAssembly here, or if the policy of a page does not allow it. */
export const make = (): Rc4Module | undefined => {
  const { WebAssembly: platform } = globalThis as unknown as { readonly WebAssembly?: Platform }
  if (platform === undefined) return undefined
  try {
    const { memory, run } = new platform.Instance(new platform.Module(assemble())).exports
    return {
      words: new Uint32Array(memory.buffer, 0, (jAt + 4) / 4),
      window: new Uint8Array(memory.buffer, windowAt),
      run
    }
  } catch {
    return undefined
  }
}
