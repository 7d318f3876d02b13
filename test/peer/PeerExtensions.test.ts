import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as MetadataLimit from "../../src/base/MetadataLimit.ts"
import type { PeerAddress } from "../../src/base/PeerAddress.ts"
import * as PeerExtensions from "../../src/peer/PeerExtensions.ts"
import * as DontHave from "../../src/wire/extension/DontHave.ts"
import * as ExtensionHandshake from "../../src/wire/extension/ExtensionHandshake.ts"
import * as MetadataMessage from "../../src/wire/extension/MetadataMessage.ts"
import type { Contact } from "../../src/wire/extension/PexMessage.ts"
import * as PexMessage from "../../src/wire/extension/PexMessage.ts"
import * as UploadOnly from "../../src/wire/extension/UploadOnly.ts"
import * as FrameDecoder from "../../src/wire/FrameDecoder.ts"
import * as FrameEncoder from "../../src/wire/FrameEncoder.ts"
import { WireError } from "../../src/wire/WireError.ts"
import { torrentExtensions } from "./torrentExtensions.ts"

const remote: PeerAddress = { host: "203.0.113.7", port: 50_000 }
const info = Uint8Array.from({ length: 40_000 }, (_, index) => index * 7)

/** A connection, what it said, and what followed from what the peer said. */
const connect = (
  options: {
    readonly isPrivate?: boolean
    readonly contacts?: ReadonlyArray<Contact>
    readonly port?: () => number | undefined
    readonly prefersEncryption?: boolean
    readonly info?: Uint8Array
  } = {}
) => {
  const outbox = FrameEncoder.make()
  const found: Array<PeerAddress> = []
  const lost: Array<number> = []
  const wants = { nothing: false }
  const ports = { changes: 0 }
  const self = PeerExtensions.make({
    torrent: torrentExtensions({
      info: options.info ?? info,
      isPrivate: options.isPrivate ?? false,
      port: options.port ?? (() => 6_881),
      prefersEncryption: options.prefersEncryption ?? true,
      isUploadOnly: () => wants.nothing,
      contacts: () => options.contacts ?? [],
      portChanged: () => void ports.changes++,
      found: (contacts) => found.push(...contacts.map(({ address }) => address))
    }),
    remote,
    outbox,
    lost: (piece) => lost.push(piece)
  })
  const said = () => {
    const frames: Array<{ readonly id: number; readonly payload: Uint8Array }> = []
    const decoder = FrameDecoder.make({
      ...FrameDecoder.ignoreAll,
      extended: (id, payload) => frames.push({ id, payload: payload.slice() })
    })
    FrameDecoder.push(decoder, FrameEncoder.take(outbox))
    return frames
  }
  const greeting = Result.getOrThrow(ExtensionHandshake.decode(said()[0]!.payload))
  /** The peer sends a message under the id that we chose. */
  const hear = (name: string, payload: Uint8Array, now = 0) =>
    PeerExtensions.receive(self, greeting.ids.get(name) ?? 200, payload, now)
  const greet = (handshake: Partial<ExtensionHandshake.ExtensionHandshake>) =>
    PeerExtensions.receive(self, ExtensionHandshake.id, ExtensionHandshake.encode(handshake), 0)
  return { self, greeting, said, hear, greet, found, lost, ports, wants }
}

const asks = (piece: number) => MetadataMessage.encode({ _tag: "Request", piece })

describe("PeerExtensions", () => {
  it("reports each other port at which a peer can be dialled, once", () => {
    const { greet, ports } = connect()

    greet({ port: 6_881 })
    greet({ port: 6_881 })
    greet({ port: 6_882 })

    assert.strictEqual(ports.changes, 2)
  })

  it("greets with the port of that moment", () => {
    let mapped: number | undefined
    const port = () => mapped

    const before = connect({ port })
    mapped = 51_413
    const after = connect({ port })

    assert.deepStrictEqual([before.greeting.port, after.greeting.port], [undefined, 51_413])
  })

  it("says whether it prefers encrypted connections", () => {
    const preferences = [true, false].map((prefersEncryption) => connect({ prefersEncryption }).greeting)

    assert.deepStrictEqual(
      preferences.map(({ prefersEncryption }) => prefersEncryption),
      [true, false]
    )
  })

  it("announces what it supports and what it has", () => {
    const { greeting } = connect()

    assert.deepStrictEqual([...greeting.ids.keys()].sort(), ["lt_donthave", "upload_only", "ut_metadata", "ut_pex"])
    assert.deepStrictEqual(
      [greeting.metadataSize, greeting.port, greeting.maxRequests, greeting.externalHost],
      [40_000, 6_881, 500, remote.host]
    )
  })

  it("fault 75: announces and sends an info dict as long as the limit, from the one that all peers share", () => {
    const large = new Uint8Array(MetadataLimit.defaultMaxBytes)
    large[large.length - 1] = 7
    const held = process.memoryUsage().arrayBuffers
    const peers = Array.from({ length: 20 }, () => connect({ info: large }))

    const last = peers.map(({ greet, hear, said }) => {
      greet({ ids: new Map([["ut_metadata", 9]]) })
      hear("ut_metadata", asks(4_095))
      return Result.getOrThrow(MetadataMessage.decode(said()[0]!.payload))
    })

    assert.strictEqual(peers[0]!.greeting.metadataSize, large.length)
    assert.isTrue(last.every((data) => data._tag === "Data" && data.bytes.at(-1) === 7))
    assert.isBelow(process.memoryUsage().arrayBuffers - held, 33_554_432)
  })

  it("sends the info dict under the id that the peer chose", () => {
    const { greet, hear, said } = connect()
    greet({ ids: new Map([["ut_metadata", 9]]) })

    for (const piece of [2, 0, 1]) hear("ut_metadata", asks(piece))
    const frames = said()

    assert.deepStrictEqual(
      frames.map(({ id }) => id),
      [9, 9, 9]
    )
    const pieces = frames.map(({ payload }) => Result.getOrThrow(MetadataMessage.decode(payload)))
    const bytes = new Uint8Array(info.length)
    for (const piece of pieces) {
      if (piece._tag === "Data") bytes.set(piece.bytes, piece.piece * MetadataMessage.pieceLength)
    }
    assert.deepStrictEqual(bytes, info)
  })

  it("fault 36: rejects what does not exist, and ends with a peer that goes on requesting it", () => {
    const { greet, hear, said } = connect()
    greet({ ids: new Map([["ut_metadata", 9]]) })

    hear("ut_metadata", asks(3))

    assert.deepStrictEqual(
      said().map(({ payload }) => Result.getOrThrow(MetadataMessage.decode(payload))),
      [{ _tag: "Reject", piece: 3 }]
    )
    assert.throws(() => {
      for (let time = 0; time < 1_000; time++) hear("ut_metadata", asks(3))
    }, WireError)
  })

  it("holds no more of the info dict for a peer that does not read than fits in the outbox", () => {
    const { greet, hear, self } = connect()
    greet({ ids: new Map([["ut_metadata", 9]]) })

    for (let time = 0; time < 4; time++) for (const piece of [0, 1, 2]) hear("ut_metadata", asks(piece))

    assert.isAtMost(self.outbox.length, 65_536 + 17_000)
    FrameEncoder.take(self.outbox)
    PeerExtensions.tick(self, 0)
    assert.isAbove(self.outbox.length, 0)
  })

  it("sends peers each other's addresses once a minute, and accepts what they send", () => {
    const other: Contact = { address: { host: "198.51.100.2", port: 6_881 }, flags: 0 }
    const { found, greet, hear, said, self } = connect({ contacts: [other] })
    greet({ ids: new Map([["ut_pex", 4]]) })

    PeerExtensions.tick(self, 0)
    PeerExtensions.tick(self, 1_000)
    const told = said().map(({ id, payload }) => [id, Result.getOrThrow(PexMessage.decode(payload)).added] as const)
    const third: Contact = { address: { host: "198.51.100.3", port: 6_881 }, flags: 0 }
    hear("ut_pex", PexMessage.encode({ added: [third], dropped: [] }))

    assert.deepStrictEqual(told, [[4, [other]]])
    assert.deepStrictEqual(found, [third.address])
  })

  it("fault 38: neither sends nor accepts peers of a private torrent", () => {
    const other: Contact = { address: { host: "198.51.100.2", port: 6_881 }, flags: 0 }
    const { found, greet, greeting, said, self } = connect({ isPrivate: true, contacts: [other] })
    greet({ ids: new Map([["ut_pex", 4]]) })

    PeerExtensions.tick(self, 0)
    // The id that it would have in a public torrent.
    PeerExtensions.receive(self, 2, PexMessage.encode({ added: [other], dropped: [] }), 0)

    assert.isUndefined(greeting.ids.get("ut_pex"))
    assert.deepStrictEqual([said(), found], [[], []])
  })

  it("fault 39: reports a lost piece, and a peer that wants nothing more and then something again", () => {
    const { greet, hear, lost, self } = connect()

    hear("lt_donthave", DontHave.encode(7))
    greet({ uploadOnly: true })
    const first = self.isUploadOnly
    hear("upload_only", UploadOnly.encode(false))

    assert.deepStrictEqual(lost, [7])
    assert.deepStrictEqual([first, self.isUploadOnly], [true, false])
  })

  it("says once that we want nothing more, and once that we want something again", () => {
    const { greet, said, self, wants } = connect()
    wants.nothing = true
    PeerExtensions.tick(self, 0)
    greet({ ids: new Map([[UploadOnly.extensionName, 5]]) })

    for (const nothing of [true, true, false, false]) {
      wants.nothing = nothing
      PeerExtensions.tick(self, 0)
    }

    assert.deepStrictEqual(
      said().map(({ id, payload }) => [id, Result.getOrThrow(UploadOnly.decode(payload))]),
      [
        [5, true],
        [5, false]
      ]
    )
  })

  it("fault 34: ends with a peer that expects a torrent of version 2", () => {
    const { greet } = connect()

    assert.throws(() => greet({ infoHashV2: new Uint8Array(32) as never }), /version 2/)
  })

  it("knows where an incoming peer can be dialled once it has announced its port", () => {
    const { greet, self } = connect()
    const before = PeerExtensions.dialAddress(self, false)
    greet({ port: 51_413 })

    assert.isUndefined(before)
    assert.deepStrictEqual(PeerExtensions.dialAddress(self, false), { host: remote.host, port: 51_413 })
    assert.deepStrictEqual(PeerExtensions.dialAddress(self, true), remote)
  })

  it("sends nothing by an extension that the peer does not know", () => {
    const { hear, said, self } = connect()

    hear("ut_metadata", asks(0))
    PeerExtensions.dontHave(self, 3)

    assert.deepStrictEqual(said(), [])
  })

  it("law: whatever a peer says ends in nothing but a WireError", () => {
    fc.assert(
      fc.property(fc.nat(255), fc.uint8Array({ maxLength: 200 }), (id, payload) => {
        const { self } = connect()
        try {
          PeerExtensions.receive(self, id, payload, 0)
        } catch (error) {
          assert.instanceOf(error, WireError)
        }
      })
    )
  })
})
