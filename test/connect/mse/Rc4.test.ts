import { assert, describe, it, vi } from "@effect/vitest"
import * as fc from "fast-check"
import * as Bytes from "../../../src/base/Bytes.ts"
import * as Rc4 from "../../../src/connect/mse/Rc4.ts"
import * as Rc4Module from "../../../src/connect/mse/Rc4Module.ts"

/** RFC 6229 section 2: a key, and its key stream from byte 0, 16, 1,024 and 4,096. */
const vectors: ReadonlyArray<readonly [key: string, ...stream: ReadonlyArray<string>]> = [
  [
    "0102030405",
    "b2396305f03dc027ccc3524a0a1118a8",
    "6982944f18fc82d589c403a47a0d0919",
    "30abbcc7c20b01609f23ee2d5f6bb7df",
    "ff25b58995996707e51fbdf08b34d875"
  ],
  [
    "01020304050607",
    "293f02d47f37c9b633f2af5285feb46b",
    "e620f1390d19bd84e2e0fd752031afc1",
    "8ecb67a9ba1f55a5a067e2b026a3676f",
    "e74b0b9731227fd37c0ec08a47ddd8b8"
  ],
  [
    "0102030405060708",
    "97ab8a1bf0afb96132f2f67258da15a8",
    "8263efdb45c4a18684ef87e6b19e5b09",
    "c6d0e7b226259fa9023490b26167ad1d",
    "3fb46e2c8f0f068edce8cdcd7dfc5862"
  ],
  [
    "0102030405060708090a",
    "ede3b04643e586cc907dc21851709902",
    "03516ba78f413beb223aa5d4d2df6711",
    "f449031de312814ec6f319291f4a0516",
    "08b6be45124a43e2eb77953f84dc8553"
  ],
  [
    "0102030405060708090a0b0c0d0e0f10",
    "9ac7cc9a609d1ef7b2932899cde41b97",
    "5248c4959014126a6e8a84f11d1a9e1c",
    "bdf0324e6083dcc6d3cedd3ca8c53c16",
    "a36a4c301ae8ac13610ccbc12256cacc"
  ],
  [
    "0102030405060708090a0b0c0d0e0f101112131415161718",
    "0595e57fe5f0bb3c706edac8a4b2db11",
    "dfde31344a1af769c74f070aee9e2326",
    "93610d523d1d3f0062b3c2a3bbc7c7f0",
    "3cb0f3b5020a98b82af9fe154484a168"
  ],
  [
    "0102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20",
    "eaa6bd25880bf93d3f5d1e4ca2611d91",
    "cfa45c9f7e714b54bdfa80027cb14380",
    "7fec5bfd9f9b89ce6548309092d7e958",
    "f3e4c0a2e02d1d01f7f0a74618af2b48"
  ],
  [
    "833222772a",
    "80ad97bdc973df8a2e879e92a497efda",
    "20f060c2f2e5126501d3d4fea10d5fc0",
    "7828d074119cab5c22b294d7a9bfa0bb",
    "bf42c3018c2f7c66bfde524975768115"
  ],
  [
    "1910833222772a",
    "bc9222dbd3274d8fc66d14ccbda6690b",
    "7ae627410c9a2be693df5bb7485a63e3",
    "42daac6a8f9ab9a7fd137c6037825682",
    "027881fab4993a1c262024a94fff3f61"
  ],
  [
    "641910833222772a",
    "bbf609de9413172d07660cb680716926",
    "46101a6dab43115d6c522b4fe93604a9",
    "bda64f65276d2aacb8f90212203a808e",
    "8170cc3ccd92a698621b939dd38fe7b9"
  ],
  [
    "8b37641910833222772a",
    "ab65c26eddb287600db2fda10d1e605c",
    "bb759010c29658f2c72d93a2d16d2930",
    "31185a6d696f0cfa9b42808b38e132a2",
    "5f6bfc73815874d97100f086979357d8"
  ],
  [
    "ebb46227c6cc8b37641910833222772a",
    "720c94b63edf44e131d950ca211a5a30",
    "c366fdeacf9ca80436be7c358424d20b",
    "b515a8c5011754f59003058bdb81514e",
    "5bbeb4787d59e5373fdbea6c6f75c29b"
  ],
  [
    "c109163908ebe51debb46227c6cc8b37641910833222772a",
    "54b64e6b5a20b5e2ec84593dc7989da7",
    "c135eee237a85465ff97dc03924f45ce",
    "f5854cdb76c889e3ad63354e5f7275e3",
    "e4dd2e98d6960fae0b43545456743391"
  ],
  [
    "1ada31d5cf688221c109163908ebe51debb46227c6cc8b37641910833222772a",
    "dd5bcb0018e922d494759d7c395d02d3",
    "c8446f8f77abf737685353eb89a1c9eb",
    "3477c7f764a41baceff90bf14f92b7cc",
    "370b1c1fe655916d97fd0d47ca1d72b8"
  ]
]

const keyOf = (hex: string) => Bytes.fromHex(hex)!

const streamOf = (cipher: Rc4.Rc4, length: number) => {
  const stream = new Uint8Array(length)
  Rc4.apply(cipher, stream, stream)
  return stream
}

describe("Rc4", () => {
  it.each(vectors)("has the key stream of RFC 6229 for the key %s", (key, ...expected) => {
    const stream = streamOf(Rc4.makeUndropped(keyOf(key)), 4_112)

    const found = [0, 16, 1_024, 4_096].map((at) => Bytes.toHex(stream.subarray(at, at + 16)))
    assert.deepStrictEqual(found, expected)
  })

  it("begins at byte 1,024 of the key stream", () => {
    const [key, , , at1024] = vectors[4]!

    assert.strictEqual(Bytes.toHex(streamOf(Rc4.make(keyOf(key)), 16)), at1024)
  })

  it("continues where the last call ended, in place or into other memory", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 20, maxLength: 20 }),
        fc.array(fc.tuple(fc.uint8Array({ maxLength: 40 }), fc.boolean()), { maxLength: 6 }),
        (key, chunks) => {
          const [pieces, whole] = [Rc4.make(key), Rc4.make(key)]
          const plain = Bytes.concat(chunks.map(([chunk]) => chunk))
          const expected = new Uint8Array(plain.length)
          Rc4.apply(whole, plain, expected)

          const found = chunks.map(([chunk, isInPlace]) => {
            const before = chunk.slice()
            const target = isInPlace ? chunk : new Uint8Array(chunk.length)
            Rc4.apply(pieces, chunk, target)
            if (!isInPlace) assert.deepStrictEqual(chunk, before)
            return target
          })

          assert.deepStrictEqual(Bytes.concat(found), expected)
        }
      ),
      { numRuns: 200 }
    )
  })

  it("comes to the same bytes and the same position in a module and in plain code, from any position on", () => {
    const made = Rc4Module.make()!
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 5, maxLength: 256 }),
        fc.array(fc.nat({ max: 300 }), { minLength: 1, maxLength: 8 }),
        fc.boolean(),
        (key, lengths, isInPlace) => {
          const [plain, module] = [Rc4.make(key), Rc4.make(key)]
          for (const length of lengths) {
            const source = Uint8Array.from({ length }, (_, at) => at * 31)
            const expected = new Uint8Array(length)
            Rc4.applyPlain(plain, source, expected)
            const target = isInPlace ? source : new Uint8Array(length + 3)
            Rc4.applyModule(made, module, source, target)

            assert.deepStrictEqual(target.subarray(0, length), expected)
            assert.deepStrictEqual(target.subarray(length), new Uint8Array(target.length - length))
            assert.deepStrictEqual(module, plain)
          }
        }
      ),
      { numRuns: 200 }
    )
  })

  it.each([-1, 0, 1, Rc4Module.windowBytes + 77])(
    "codes chunks that are longer by %i bytes than what a module takes at once",
    (more) => {
      const source = Uint8Array.from({ length: Rc4Module.windowBytes + more }, (_, at) => at * 7)
      const [plain, module] = [Rc4.make(keyOf("0102030405")), Rc4.make(keyOf("0102030405"))]
      const expected = new Uint8Array(source.length)
      Rc4.applyPlain(plain, source, expected)

      Rc4.applyModule(Rc4Module.make()!, module, source, source)

      assert.isTrue(Bytes.equals(source, expected))
      assert.deepStrictEqual(module, plain)
    }
  )

  it.each([
    undefined,
    {
      Module: class {
        constructor() {
          throw new Error("the policy of the page")
        }
      }
    }
  ])("is coded in plain code where there is no WebAssembly, or where it is not allowed", async (platform) => {
    vi.stubGlobal("WebAssembly", platform)
    try {
      // A module of its own, which has not made the WebAssembly module yet.
      const own = `../../../src/connect/mse/Rc4.ts?${platform === undefined ? "absent" : "forbidden"}`
      const fresh: typeof Rc4 = await import(/* @vite-ignore */ own)
      const source = new Uint8Array(5_000).fill(9)
      const expected = new Uint8Array(source.length)
      Rc4.applyPlain(Rc4.make(keyOf("0102030405")), source, expected)

      const cipher = fresh.make(keyOf("0102030405"))
      const found = [source.subarray(0, 2_000), source.subarray(2_000)].map((part) => {
        const target = new Uint8Array(part.length)
        fresh.apply(cipher, part, target)
        return target
      })

      assert.deepStrictEqual(Bytes.concat(found), expected)
      assert.isUndefined(Rc4Module.make())
    } finally {
      vi.unstubAllGlobals()
    }
  })
})
