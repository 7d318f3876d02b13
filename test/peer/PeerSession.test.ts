import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"

import * as TestClock from "effect/testing/TestClock"
import * as fc from "fast-check"
import * as BufferPool from "../../src/assembly/BufferPool.ts"
import * as Completion from "../../src/assembly/Completion.ts"
import type { InfoHash } from "../../src/base/InfoHash.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import type * as Introduction from "../../src/connect/Introduction.ts"
import { PieceHasher } from "../../src/hash/PieceHasher.ts"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import type { Connection, Sink } from "../../src/network/Transport.ts"
import type { TorrentExtensions } from "../../src/peer/PeerExtensions.ts"
import { PeerDropped } from "../../src/peer/PeerPatience.ts"
import * as PeerSession from "../../src/peer/PeerSession.ts"
import * as RequestPipeline from "../../src/supply/RequestPipeline.ts"
import * as KnownTorrent from "../../src/testing/KnownTorrent.ts"
import * as MemoryNetwork from "../../src/testing/MemoryNetwork.ts"
import * as WireMessage from "../../src/testing/WireMessage.ts"
import * as FrameDecoder from "../../src/wire/FrameDecoder.ts"
import * as Handshake from "../../src/wire/Handshake.ts"
import { freeCount } from "../assembly/pieces.ts"
import { idOf } from "../supply/ScriptedSupplier.ts"
import { makeAssembly, requestsCounted, writersClaimed } from "./protocols.ts"
import { layer, listen, pass, serve, settle, start, test, torrent } from "./sessions.ts"
import { torrentExtensions } from "./torrentExtensions.ts"
import * as Uploads from "./uploads.ts"

const there = { host: "10.0.0.1", port: 6881 }

/** A torrent and an empty assembly of it. */
const begin = Effect.gen(function* () {
  const known = yield* torrent()
  const assembly = yield* makeAssembly({ geometry: known.metainfo.layout.geometry })
  return { known, assembly }
})

const openConnections = Effect.gen(function* () {
  const network = yield* MemoryNetwork.MemoryNetwork
  return (yield* network.counts).connections
})

/** A connection to nobody: the tags of what the session says, and a function that delivers bytes to it. */
const madeUp = () => {
  const said: Array<WireMessage.WireMessage["_tag"]> = []
  const decoder = FrameDecoder.make(WireMessage.sink(({ _tag }) => said.push(_tag)))
  let sink: Sink = () => true
  const connection: Connection = {
    remote: there,
    receiveUnsafe: (receiver) => {
      sink = receiver
    },
    resumeUnsafe: () => {},
    writeUnsafe: (bytes) => {
      FrameDecoder.push(decoder, bytes)
      return true
    },
    drained: Effect.void,
    closed: Effect.never
  }
  return { connection, said, deliver: (bytes: Uint8Array) => sink(bytes) }
}

const introducedOn = (connection: Connection, features: Partial<Handshake.Features> = {}): Introduction.Introduced => ({
  connection,
  infoHash: new Uint8Array(20) as InfoHash,
  peerId: new Uint8Array(20).fill(0x51),
  features: { ...PeerSession.features, ...features },
  isIncoming: false
})

const handshakeOf = (infoHash: Uint8Array, peerId = new Uint8Array(20).fill(0x51)) =>
  Handshake.encode({
    features: { ...Handshake.noFeatures, fast: true },
    infoHash: infoHash as Parameters<typeof Handshake.encode>[0]["infoHash"],
    peerId
  })

describe("PeerSession", () => {
  test("takes a peer that does not say it to prefer encryption if its handshake was encrypted", function* () {
    const { assembly, known } = yield* begin
    yield* serve(known, there)

    const preferences: Array<boolean | undefined> = []
    for (const canEncrypt of [true, false]) {
      const { running } = yield* start(known, assembly, there, { canEncrypt })
      preferences.push(running.session?.prefersEncryption())
    }

    assert.deepStrictEqual(preferences, [true, false])
  })

  test("fetches every block from a seed and leaves no request behind", function* () {
    const { assembly, known } = yield* begin
    const peer = yield* serve(known, there)

    const { running } = yield* start(known, assembly, there)

    assert.deepStrictEqual([assembly.table.counts.complete, requestsCounted(assembly)], [4, 0])
    assert.deepInclude(peer.counters, { requests: 16, badRequests: 0, cancels: 0, complaints: [] })
    assert.strictEqual(running.session?.protocol.usefulBytes, known.metainfo.layout.geometry.totalLength)
  })

  test("ignores what a connection delivers after the session has ended", function* () {
    const { assembly } = yield* begin
    const { connection, deliver } = madeUp()
    const session = yield* Effect.forkChild(
      PeerSession.run({
        introduced: introducedOn(connection),
        assembly,
        id: idOf(0),
        upload: Uploads.make(assembly.geometry),
        onOpen: () => undefined,
        onInterest: () => {}
      }),
      { startImmediately: true }
    )
    deliver(WireMessage.encodeAll([{ _tag: "Have", index: 1 }]))
    const before = [assembly.suppliers.size, assembly.picker.availability[1]]
    yield* Fiber.interrupt(session)

    deliver(WireMessage.encodeAll([{ _tag: "Have", index: 2 }]))

    assert.deepStrictEqual(before, [1, 1])
    assert.deepStrictEqual([assembly.suppliers.size, ...assembly.picker.availability], [0, 0, 0, 0, 0])
  })

  test("announces its pieces to a peer that says nothing", function* () {
    const { assembly } = yield* begin
    const { connection, said } = madeUp()
    const upload = Uploads.make(assembly.geometry)
    const introduced = introducedOn(connection)

    yield* Effect.forkScoped(
      PeerSession.run({ introduced, assembly, upload, id: idOf(0), onOpen: () => undefined, onInterest: () => {} })
    )
    yield* settle

    assert.deepStrictEqual(said, ["HaveNone"])
  })

  test("speaks the extension protocol only with peers that speak it", function* () {
    const { assembly, known } = yield* begin
    const saysExtended = (extensionProtocol: boolean, extensions: TorrentExtensions | undefined) =>
      Effect.gen(function* () {
        const { connection, said } = madeUp()
        const introduced = introducedOn(connection, { extensionProtocol })
        const upload = Uploads.make(assembly.geometry)
        const own = { introduced, assembly, upload, extensions, id: idOf(0) }
        yield* Effect.forkScoped(PeerSession.run({ ...own, onOpen: () => undefined, onInterest: () => {} }))
        yield* settle
        return said.includes("Extended")
      })
    const extensions = torrentExtensions({ info: known.metainfo.infoBytes })

    assert.isTrue(yield* saysExtended(true, extensions))
    assert.isFalse(yield* saysExtended(false, extensions))
    assert.isFalse(yield* saysExtended(true, undefined))
  })

  test("sends many requests to a fast peer in one write", function* () {
    const known = yield* torrent(40)
    const { geometry } = known.metainfo.layout
    const assembly = yield* makeAssembly({ geometry, maxActivePieces: 40 })
    const { connection, deliver, said } = madeUp()
    yield* Effect.forkScoped(
      PeerSession.run({
        introduced: introducedOn(connection),
        assembly,
        id: idOf(0),
        upload: Uploads.make(geometry),
        onOpen: ({ protocol }) => {
          protocol.pipeline.depth = 128
          return undefined
        },
        onInterest: () => {}
      })
    )
    yield* settle
    deliver(WireMessage.encodeAll([{ _tag: "HaveAll" }, { _tag: "Unchoke" }]))
    const requested = () => said.filter((tag) => tag === "Request").length
    const seen = [requested()]

    for (const piece of assembly.pool.loans.keys()) {
      for (const block of [0, 1, 2, 3]) {
        const bytes = new Uint8Array(16_384)
        deliver(WireMessage.encodeAll([{ _tag: "Piece", index: piece, begin: block * 16_384, block: bytes }]))
        if (seen.at(-1) !== requested()) seen.push(requested())
      }
      if (seen.length > 2) break
    }

    assert.deepStrictEqual(seen, [128, 144, 160])
  })

  test("law 7: requests more before a complete piece is hashed", function* () {
    const known = yield* torrent(12)
    const assembly = yield* makeAssembly({ geometry: known.metainfo.layout.geometry })
    const rooms: Array<number> = []
    const recording = Layer.succeed(
      PieceHasher,
      PieceHasher.of({
        sha1: (bytes) =>
          Effect.sync(() => {
            const free = assembly.table.counts.missing
            for (const { pipeline } of assembly.suppliers) rooms.push(free === 0 ? 0 : RequestPipeline.room(pipeline))
            return bytes
          }),
        sha256: Effect.succeed
      })
    )
    const digestOf = (piece: PieceIndex) => assembly.pool.loans.get(piece)!.buffer.bytes
    const storage = { writePiece: () => Effect.interruptible(Effect.never) }
    yield* Completion.run(assembly, { storage, digestOf }).pipe(Effect.provide(recording))
    yield* serve(known, there)

    yield* start(known, assembly, there)

    assert.deepStrictEqual([rooms.length, Math.max(...rooms)], [12, 0])
  })

  test("starts each piece once, however many peers begin many small pieces at the same time", function* () {
    const known = yield* KnownTorrent.make({ files: [{ path: [], length: 1_200 * 16_384 }], pieceLength: 16_384 }).pipe(
      Effect.provide(NodePieceHasher.layer)
    )
    const assembly = yield* makeAssembly({ geometry: known.metainfo.layout.geometry, maxActivePieces: 1_200 })
    const hosts = [1, 2, 3, 4].map((number) => ({ host: `10.0.0.${number}`, port: 6881 }))
    yield* Effect.forEach(hosts, (host, key) => serve(known, host, { seed: key, delay: "1 hour" }))
    const sessions = yield* Effect.forEach(hosts, (host) => start(known, assembly, host, { depth: 300 }), {
      concurrency: "unbounded"
    })
    yield* pass(1)

    assert.deepStrictEqual(
      sessions.map(({ running }) => running.ended),
      [undefined, undefined, undefined, undefined]
    )
    assert.deepStrictEqual([assembly.pool.loans.size, assembly.pool.account.held], [1_200, 1_200])
    assert.strictEqual(requestsCounted(assembly), 1_200)
  })

  describe("ends", () => {
    test("fault 32: when its owner refuses the peer, and forgets what the peer has", function* () {
      const { assembly, known } = yield* begin
      yield* serve(known, there)

      const { running } = yield* start(known, assembly, there, { refuses: new PeerDropped({ why: "it is banned" }) })

      assert.deepStrictEqual([running.ended, assembly.suppliers.size], ["it is banned", 0])
      assert.strictEqual(yield* openConnections, 0)
    })

    test("when the peer closes, and its blocks are free for others", function* () {
      const { assembly, known } = yield* begin
      yield* serve(known, there, { stopsAfter: { blocks: 5, how: "close" } })

      const { running } = yield* start(known, assembly, there)
      yield* pass(1)

      assert.strictEqual(running.ended, "closed")
      assert.deepStrictEqual([requestsCounted(assembly), writersClaimed(assembly), assembly.suppliers.size], [0, 0, 0])
    })

    test("when the connection breaks", function* () {
      const { assembly, known } = yield* begin
      yield* serve(known, there, { stopsAfter: { blocks: 5, how: "stall" } })
      const { running } = yield* start(known, assembly, there)

      yield* (yield* MemoryNetwork.MemoryNetwork).cut(there.host)
      yield* settle

      assert.deepStrictEqual([running.ended, requestsCounted(assembly)], ["connection reset", 0])
    })

    test("with a peer that breaks the protocol", function* () {
      const { assembly, known } = yield* begin
      yield* serve(known, there, { announces: "spare bit" })

      const { running } = yield* start(known, assembly, there)

      assert.match(running.ended ?? "", /does not fit the torrent/)
    })

    test("fault 31: with a peer that floods while it is choked", function* () {
      const known = yield* torrent()
      const { geometry } = known.metainfo.layout
      const assembly = yield* makeAssembly({ geometry, stored: [0, 1, 2, 3] })
      yield* serve(known, there, { floods: 5_000 })

      const { running } = yield* start(known, assembly, there)

      assert.strictEqual(running.ended, "requests without end")
    })
  })

  test(
    "knows since when a peer reads nothing",
    function* () {
      const { assembly, known } = yield* begin
      yield* listen(there, (connection) =>
        Effect.andThen(
          Effect.sync(() => {
            // It reads the handshake and no more.
            connection.receiveUnsafe(() => false)
            connection.writeUnsafe(handshakeOf(known.metainfo.infoHash))
            connection.writeUnsafe(WireMessage.encodeAll([{ _tag: "HaveAll" }, { _tag: "Unchoke" }]))
          }),
          Effect.never
        )
      )
      yield* TestClock.adjust("5 seconds")

      const { running } = yield* start(known, assembly, there)

      assert.strictEqual(running.session?.protocol.patience.blockedSince, 5_000)
    },
    { sendBufferBytes: 100, windowBytes: 100 }
  )

  test(
    "forgets that a peer was slow to read once it has read",
    function* () {
      const { assembly, known } = yield* begin
      yield* serve(known, there, { delay: "1 hour" })

      const { running } = yield* start(known, assembly, there)

      assert.strictEqual(requestsCounted(assembly), 16)
      assert.strictEqual(running.session?.protocol.patience.blockedSince, undefined)
    },
    { sendBufferBytes: 100, windowBytes: 100 }
  )

  it.effect("law 12: interrupted at any point, a session frees its requests, its claims and its connection", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(fc.nat(120), fc.nat(3_000), (turns, millis) =>
          Effect.gen(function* () {
            const { assembly, known } = yield* begin
            const peer = yield* serve(known, there, { bytesPerSecond: 100_000 })
            const { fiber } = yield* start(known, assembly, there)
            yield* TestClock.adjust(millis)
            for (let turn = 0; turn < turns; turn++) yield* Effect.yieldNow

            yield* Fiber.interrupt(fiber)
            yield* pass(1)

            assert.deepStrictEqual([requestsCounted(assembly), writersClaimed(assembly)], [0, 0])
            assert.deepStrictEqual([assembly.suppliers.size, assembly.idleSuppliers.size], [0, 0])
            assert.deepStrictEqual([yield* openConnections, peer.counters.openConnections], [0, 0])
            assert.strictEqual(freeCount(assembly.pool) + BufferPool.lentCount(assembly.pool), 4)
            return true
          }).pipe(
            Effect.scoped,
            Effect.provide(
              Layer.provideMerge(layer({ seed: turns + 1, link: { latency: "10 millis" } }), TestClock.layer())
            ),
            Effect.runPromise
          )
        ),
        { numRuns: 30 }
      )
    )
  )
})
