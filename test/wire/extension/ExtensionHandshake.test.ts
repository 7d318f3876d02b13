import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as fc from "fast-check"
import * as Bytes from "../../../src/base/Bytes.ts"
import * as InfoHash from "../../../src/base/InfoHash.ts"
import * as IpAddress from "../../../src/base/IpAddress.ts"
import * as Reach from "../../../src/base/Reach.ts"
import * as Bencode from "../../../src/bencode/Bencode.ts"
import * as Values from "../../../src/testing/arbitrary/Values.ts"
import * as ExtensionHandshake from "../../../src/wire/extension/ExtensionHandshake.ts"
import * as MetadataMessage from "../../../src/wire/extension/MetadataMessage.ts"
import { decodeDamaged, mutated } from "./mutations.ts"

const { empty } = ExtensionHandshake

const decode = (handshake: Bencode.Encodable) => Result.getOrThrow(ExtensionHandshake.decode(Bencode.encode(handshake)))

/** The example of BEP 10, with the name from its table instead of the wrong one in the printed message. */
const example = "d1:md11:LT_metadatai1e6:ut_pexi2ee1:pi6881e1:v13:\xc2\xb5Torrent 1.2e"

/** What libtorrent 2.0.8 sent us over loopback as the seed of a torrent of one file. */
const libtorrent =
  "d12:complete_agoi-1e1:md11:lt_donthavei7e10:share_modei8e11:upload_onlyi3e12:ut_holepunchi4e11:ut_metadatai2e" +
  "6:ut_pexi1ee13:metadata_sizei208e4:reqqi2000e11:upload_onlyi1e1:v18:libtorrent/2.0.8.06:yourip4:\x7f\x00\x00\x01e"

/** Every field that is read, by hand. */
const full =
  "d1:ei1e10:info_hash232:0123456789abcdef0123456789abcdef4:ipv44:\xc6\x33\x64\x07" +
  "4:ipv616:\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x011:md11:ut_metadatai2ee" +
  "13:metadata_sizei31235e1:pi6881e4:reqqi250e11:upload_onlyi1e1:v15:piecewise/0.1.06:yourip4:\xcb\x00\x71\x05e"

const captures = [example, libtorrent, full].map(Bytes.fromLatin1Unsafe)

const hostOf = (length: number) =>
  Values.ipBytes
    .filter((bytes) => bytes.length === length)
    .map((bytes) => IpAddress.format(bytes)!)
    .filter((host) => host.includes(":") === (length === 16) && Reach.of(host) !== "none")

const optional = <A>(arbitrary: fc.Arbitrary<A>) => fc.option(arbitrary, { nil: undefined })

const handshake: fc.Arbitrary<ExtensionHandshake.ExtensionHandshake> = fc.record(
  {
    ids: fc
      .uniqueArray(
        fc.tuple(
          Values.bencodeKey.filter((key) => key !== ""),
          fc.nat(255)
        ),
        {
          maxLength: 8,
          selector: ([name]) => name
        }
      )
      .map((entries) => new Map(entries)),
    client: optional(fc.constantFrom("piecewise/0.1.0", "µTorrent 1.2", "x".repeat(64))),
    port: optional(fc.integer({ min: 1, max: 65_535 })),
    externalHost: optional(fc.oneof(hostOf(4), hostOf(16))),
    ipv4Host: optional(hostOf(4)),
    ipv6Host: optional(hostOf(16)),
    maxRequests: optional(fc.integer({ min: 1 })),
    metadataSize: optional(fc.integer({ min: 1, max: 2 ** 40 })),
    uploadOnly: optional(fc.boolean()),
    prefersEncryption: optional(fc.boolean()),
    infoHashV2: optional(fc.uint8Array({ minLength: 32, maxLength: 32 }).map((bytes) => InfoHash.v2FromBytes(bytes)!))
  },
  { noNullPrototype: true }
)

describe("ExtensionHandshake.decode", () => {
  it("reads the example of BEP 10", () => {
    const read = Result.getOrThrow(ExtensionHandshake.decode(captures[0]!))

    assert.deepStrictEqual(read, {
      ...empty,
      ids: new Map([
        ["LT_metadata", 1],
        ["ut_pex", 2]
      ]),
      port: 6881,
      client: "µTorrent 1.2"
    })
  })

  it("reads what libtorrent sends", () => {
    const read = Result.getOrThrow(ExtensionHandshake.decode(captures[1]!))

    assert.deepStrictEqual(read, {
      ...empty,
      ids: new Map([
        ["lt_donthave", 7],
        ["share_mode", 8],
        ["upload_only", 3],
        ["ut_holepunch", 4],
        ["ut_metadata", 2],
        ["ut_pex", 1]
      ]),
      client: "libtorrent/2.0.8.0",
      externalHost: "127.0.0.1",
      maxRequests: 2000,
      metadataSize: 208,
      uploadOnly: true
    })
  })

  it("reads every field, and writes it back unchanged", () => {
    const read = Result.getOrThrow(ExtensionHandshake.decode(captures[2]!))

    assert.deepStrictEqual(read, {
      ids: new Map([["ut_metadata", 2]]),
      client: "piecewise/0.1.0",
      port: 6881,
      externalHost: "203.0.113.5",
      ipv4Host: "198.51.100.7",
      ipv6Host: "2001:db8::1",
      maxRequests: 250,
      metadataSize: 31_235,
      uploadOnly: true,
      prefersEncryption: true,
      infoHashV2: InfoHash.v2FromBytes(Bytes.fromText("0123456789abcdef0123456789abcdef"))
    })
    assert.deepStrictEqual(ExtensionHandshake.encode(read), captures[2])
  })

  it("fault 34: reads a v2 info hash of 32 bytes and of no other length", () => {
    assert.strictEqual(decode({ info_hash2: new Uint8Array(32) }).infoHashV2?.length, 32)
    for (const length of [0, 20, 31, 33]) assert.isUndefined(decode({ info_hash2: new Uint8Array(length) }).infoHashV2)
  })

  it("fault 35: reads an id of 0 as off, accepts 255, and ignores what is not a byte", () => {
    const { ids } = decode({ m: { off: 0, last: 255, over: 256, under: -1, huge: 2n ** 63n, text: "3", list: [1] } })

    assert.deepStrictEqual(
      ids,
      new Map([
        ["last", 255],
        ["off", 0]
      ])
    )
    assert.strictEqual(ExtensionHandshake.idOf({ ...empty, ids }, "last"), 255)
    assert.isUndefined(ExtensionHandshake.idOf({ ...empty, ids }, "off"))
    assert.isUndefined(ExtensionHandshake.idOf({ ...empty, ids }, "other"))
  })

  it("fault 35: ignores an `m` that is not a dictionary, and reads the rest", () => {
    for (const m of [1, "x", [1, 2]]) assert.deepStrictEqual(decode({ m, p: 80 }), { ...empty, port: 80 })
  })

  it.each([0, -1, 2n ** 63n])("fault 35: a metadata_size of %s is ignored", (size) => {
    assert.isUndefined(decode({ metadata_size: size }).metadataSize)
  })

  it("fault 35: reads a metadata_size of any length, for its user to compare with a limit", () => {
    for (const size of [1, 2 ** 30]) assert.strictEqual(decode({ metadata_size: size }).metadataSize, size)
  })

  it.each<readonly [string, Bencode.Encodable]>([
    ["p", 0],
    ["p", 65_536],
    ["p", "6881"],
    ["reqq", 0],
    ["reqq", -5],
    ["v", 1],
    ["v", "\u0000 \u202e\n"],
    ["yourip", new Uint8Array(4)],
    ["yourip", new Uint8Array(5).fill(1)],
    ["yourip", "1.2.3.4"],
    ["ipv4", new Uint8Array(16).fill(1)],
    ["ipv6", new Uint8Array(4).fill(1)],
    ["ipv6", new Uint8Array(16)],
    ["upload_only", "1"]
  ])("takes a %s of %s for absent", (key, value) => {
    assert.deepStrictEqual(decode({ [key]: value }), empty)
  })

  it("removes from a client's name what a terminal could act upon, and cuts it", () => {
    assert.strictEqual(decode({ v: "a\u001b[2Jb\u202ec\n" }).client, "a [2Jb c")
    assert.strictEqual(decode({ v: "é".repeat(200) }).client, "é".repeat(ExtensionHandshake.maxClientLength))
    assert.strictEqual(decode({ v: Uint8Array.of(0x61, 0xff) }).client, "a\ufffd")
  })

  it("keeps a bounded number of names of a bounded length", () => {
    const m = Object.fromEntries(Array.from({ length: 500 }, (_, index) => [`x${index}`, 1 + (index % 255)]))

    assert.strictEqual(decode({ m }).ids.size, ExtensionHandshake.maxExtensions)
    assert.strictEqual(decode({ m: { ["n".repeat(64)]: 1, ["n".repeat(65)]: 2, "": 3 } }).ids.size, 1)
  })

  it("ignores bytes after the dictionary", () => {
    assert.strictEqual(decodeDamaged(ExtensionHandshake.decode, Bytes.fromLatin1Unsafe("d1:pi80eexyz"))?.port, 80)
  })

  it("refuses what is not a dictionary, and what is longer than its limit", () => {
    for (const text of ["", "le", "i1e", "x", "d1:pi80e"]) {
      assert.isUndefined(decodeDamaged(ExtensionHandshake.decode, Bytes.fromLatin1Unsafe(text)), text)
    }
    const padded = (length: number) => {
      const bytes = new Uint8Array(length)
      bytes.set(captures[0]!)
      return bytes
    }
    assert.isDefined(decodeDamaged(ExtensionHandshake.decode, padded(ExtensionHandshake.maxLength)))
    assert.isUndefined(decodeDamaged(ExtensionHandshake.decode, padded(ExtensionHandshake.maxLength + 1)))
  })

  it("refuses a handshake that is cut at any byte", () => {
    for (const capture of captures) {
      for (let length = 0; length < capture.length; length++) {
        assert.isUndefined(decodeDamaged(ExtensionHandshake.decode, capture.subarray(0, length)), `${length} bytes`)
      }
    }
  })

  it("fault 35: reads valid fields or fails with a WireError, whatever the input", () => {
    fc.assert(
      fc.property(mutated(captures), (payload) => {
        const read = decodeDamaged(ExtensionHandshake.decode, payload)
        if (read === undefined) return

        for (const value of read.ids.values()) assert.isTrue(value >= 0 && value <= 255)
        assert.isTrue(read.metadataSize === undefined || MetadataMessage.isSize(read.metadataSize))
        assert.isTrue(read.port === undefined || (read.port >= 1 && read.port <= 65_535))
        assert.isTrue(read.maxRequests === undefined || read.maxRequests >= 1)
        // What was read can be written, and read again.
        const again = decodeDamaged(ExtensionHandshake.decode, ExtensionHandshake.encode(read))
        assert.deepStrictEqual({ ...again, ids: new Set(again?.ids) }, { ...read, ids: new Set(read.ids) })
      }),
      { numRuns: 2_000 }
    )
  })

  it("keeps no view of its input", () => {
    const payload = captures[2]!.slice()
    const read = Result.getOrThrow(ExtensionHandshake.decode(payload))
    const before = Bytes.toHex(read.infoHashV2!)

    payload.fill(0)

    assert.strictEqual(Bytes.toHex(read.infoHashV2!), before)
  })
})

describe("ExtensionHandshake.encode", () => {
  it("writes `m` of BEP 10 even if it is empty", () => {
    assert.strictEqual(Bytes.toLatin1(ExtensionHandshake.encode({})), "d1:mdee")
  })

  it("writes fields that are read back unchanged", () => {
    fc.assert(
      fc.property(handshake, (written) => {
        const read = Result.getOrThrow(ExtensionHandshake.decode(ExtensionHandshake.encode(written)))

        assert.deepStrictEqual(read, written)
      })
    )
  })
})

describe("ExtensionHandshake.merge", () => {
  const first = decode({ m: { ut_pex: 1, ut_metadata: 2 }, metadata_size: 100, p: 80, reqq: 250 })

  it("treats a later `m` as changes (BEP 10)", () => {
    const merged = ExtensionHandshake.merge(first, decode({ m: { ut_pex: 0, lt_donthave: 7 }, upload_only: 1 }))

    assert.isUndefined(ExtensionHandshake.idOf(merged, "ut_pex"))
    assert.strictEqual(ExtensionHandshake.idOf(merged, "ut_metadata"), 2)
    assert.strictEqual(ExtensionHandshake.idOf(merged, "lt_donthave"), 7)
    assert.deepStrictEqual(
      { ...merged, ids: empty.ids },
      { ...empty, metadataSize: 100, port: 80, maxRequests: 250, uploadOnly: true }
    )
  })

  it("lets a later handshake take `upload_only` back", () => {
    const seeding = ExtensionHandshake.merge(first, decode({ upload_only: 1 }))

    assert.isTrue(ExtensionHandshake.merge(seeding, decode({})).uploadOnly)
    assert.isFalse(ExtensionHandshake.merge(seeding, decode({ upload_only: 0 })).uploadOnly)
  })

  it("lets a later handshake take back that the peer prefers encryption", () => {
    const preferring = ExtensionHandshake.merge(first, decode({ e: 1 }))

    assert.isTrue(ExtensionHandshake.merge(preferring, decode({})).prefersEncryption)
    assert.isFalse(ExtensionHandshake.merge(preferring, decode({ e: 0 })).prefersEncryption)
  })

  it("does not grow with the number of handshakes", () => {
    let merged = first
    for (let round = 0; round < 200; round++) {
      merged = ExtensionHandshake.merge(merged, decode({ m: { [`x${round}`]: 9, ut_pex: 3 } }))
    }

    assert.strictEqual(merged.ids.size, ExtensionHandshake.maxExtensions)
    assert.strictEqual(ExtensionHandshake.idOf(merged, "ut_pex"), 3)
  })

  it("changes nothing with a handshake that says nothing", () => {
    fc.assert(
      fc.property(handshake, (said) => {
        assert.deepStrictEqual(ExtensionHandshake.merge(said, empty), said)
        assert.deepStrictEqual(ExtensionHandshake.merge(empty, said), said)
      })
    )
  })
})
