import { assert, describe, it } from "@effect/vitest"
import { Result } from "effect"
import * as fc from "fast-check"
import * as Bytes from "../../../src/base/Bytes.ts"
import type { PeerAddress } from "../../../src/base/PeerAddress.ts"
import * as Bencode from "../../../src/bencode/Bencode.ts"
import * as Values from "../../../src/testing/arbitrary/Values.ts"
import * as PexMessage from "../../../src/wire/extension/PexMessage.ts"
import { decodeDamaged, mutated } from "./mutations.ts"

const decode = (message: Bencode.Encodable) => Result.getOrThrow(PexMessage.decode(Bencode.encode(message)))

/** The layout of BEP 11, by hand: two IPv4 contacts and one of IPv6 added, one of each dropped. */
const golden = Bytes.fromLatin1Unsafe(
  "d5:added12:\xcb\x00\x71\x01\x1a\xe1\xcb\x00\x71\x02\xff\xff7:added.f2:\x12\x00" +
    "6:added618:\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x1a\xe18:added6.f1:\x04" +
    "7:dropped6:\xcb\x00\x71\x03\x00\x50" +
    "8:dropped618:\x20\x01\x0d\xb8\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\x50e"
)

const goldenMessage: PexMessage.PexMessage = {
  added: [
    {
      address: { host: "203.0.113.1", port: 6881 },
      flags: PexMessage.flag.uploadOnly | PexMessage.flag.isReachable
    },
    { address: { host: "203.0.113.2", port: 65_535 }, flags: 0 },
    { address: { host: "2001:db8::1", port: 6881 }, flags: PexMessage.flag.supportsUtp }
  ],
  dropped: [
    { host: "203.0.113.3", port: 80 },
    { host: "2001:db8::2", port: 80 }
  ]
}

/** IPv4 first, as a message holds them. */
const byFamily = (a: PeerAddress, b: PeerAddress) => Number(a.host.includes(":")) - Number(b.host.includes(":"))

const contact = fc.record({ address: Values.peerAddress, flags: fc.nat(255) }, { noNullPrototype: true })

const message: fc.Arbitrary<PexMessage.PexMessage> = fc.record(
  {
    added: fc.array(contact, { maxLength: 60 }).map((list) => list.sort((a, b) => byFamily(a.address, b.address))),
    dropped: fc.array(Values.peerAddress, { maxLength: 60 }).map((list) => list.sort(byFamily))
  },
  { noNullPrototype: true }
)

describe("PexMessage", () => {
  it("reads and writes the layout of BEP 11", () => {
    assert.deepStrictEqual(Result.getOrThrow(PexMessage.decode(golden)), goldenMessage)
    assert.deepStrictEqual(PexMessage.encode(goldenMessage), golden)
  })

  it("reads what it wrote", () => {
    fc.assert(
      fc.property(message, (written) => {
        assert.deepStrictEqual(Result.getOrThrow(PexMessage.decode(PexMessage.encode(written))), written)
      })
    )
  })

  it("reads missing flags as none, and keeps the others with their contacts", () => {
    const added = Bytes.fromHex("cb0071010050cb0071090000cb0071020050")!

    const read = decode({ added, "added.f": Uint8Array.of(1, 2) })

    // The second contact has port 0, so it is left out with its flags.
    assert.deepStrictEqual(
      read.added.map(({ address, flags }) => [address.host, flags]),
      [
        ["203.0.113.1", 1],
        ["203.0.113.2", 0]
      ]
    )
  })

  it("reads a message with nothing in it", () => {
    assert.deepStrictEqual(decode({}), { added: [], dropped: [] })
    assert.deepStrictEqual(decode({ added: 7, dropped: [1], other: "x" }), { added: [], dropped: [] })
  })

  it("does not write contacts by name, nor their flags", () => {
    const bytes = PexMessage.encode({
      added: [
        { address: { host: "peer.example", port: 1 }, flags: 1 },
        { address: { host: "203.0.113.1", port: 2 }, flags: 2 }
      ],
      dropped: []
    })

    assert.deepStrictEqual(Result.getOrThrow(PexMessage.decode(bytes)).added, [
      { address: { host: "203.0.113.1", port: 2 }, flags: 2 }
    ])
  })

  it("fault 38: reads 200 contacts of a list and no more", () => {
    for (const count of [199, 200, 201, 5_000]) {
      const { added, dropped } = decode({
        added: new Uint8Array(count * 6).fill(1),
        dropped: new Uint8Array(count * 6).fill(1)
      })

      assert.strictEqual(added.length, Math.min(count, PexMessage.maxContacts))
      assert.strictEqual(dropped.length, Math.min(count, PexMessage.maxContacts))
    }
  })

  it("refuses a message longer than its limit, whatever follows its dictionary", () => {
    const padded = (length: number) => Bytes.concat([golden, new Uint8Array(length - golden.length)])

    assert.isDefined(decodeDamaged(PexMessage.decode, padded(PexMessage.maxLength)))
    assert.isUndefined(decodeDamaged(PexMessage.decode, padded(PexMessage.maxLength + 1)))
  })

  it("fault 38: leaves out contacts of port 0", () => {
    assert.deepStrictEqual(decode({ added: Bytes.fromHex("cb0071010000")! }).added, [])
  })

  it("refuses lists that do not consist of whole contacts", () => {
    for (const [key, size] of [
      ["added", 6],
      ["dropped", 6],
      ["added6", 18],
      ["dropped6", 18]
    ] as const) {
      for (let length = 0; length <= 2 * size; length++) {
        const payload = Bencode.encode({ [key]: new Uint8Array(length).fill(1) })

        assert.strictEqual(
          decodeDamaged(PexMessage.decode, payload) !== undefined,
          length % size === 0,
          `${key} ${length}`
        )
      }
    }
  })

  it("refuses a message that is cut at any byte, and what is not a dictionary", () => {
    for (let length = 0; length < golden.length; length++) {
      assert.isUndefined(decodeDamaged(PexMessage.decode, golden.subarray(0, length)), `${length} bytes`)
    }
    for (const text of ["le", "i5e", "4:spam"]) {
      assert.isUndefined(decodeDamaged(PexMessage.decode, Bytes.fromLatin1Unsafe(text)), text)
    }
  })

  it("fault 38: returns bounded lists of addresses or a WireError, whatever the input", () => {
    fc.assert(
      fc.property(mutated([golden]), (payload) => {
        const read = decodeDamaged(PexMessage.decode, payload)

        for (const { address } of read?.added ?? []) assert.isTrue(address.port >= 1 && address.host !== "")
        assert.isAtMost(read?.added.length ?? 0, 2 * PexMessage.maxContacts)
      }),
      { numRuns: 2_000 }
    )
  })
})
