import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as PubSub from "effect/PubSub"
import * as Stream from "effect/Stream"
import { SupplierSources } from "../../src/assembly/SupplierSource.ts"
import * as Bitfield from "../../src/base/Bitfield.ts"
import type { PeerAddress } from "../../src/base/PeerAddress.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import { Encryption } from "../../src/connect/Encryption.ts"
import type { PeerSource } from "../../src/discovery/PeerSource.ts"
import * as PeerBehaviour from "../../src/testing/PeerBehaviour.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import { inverting } from "../connect/inverting.ts"
import * as MapSupplier from "../supply/MapSupplier.ts"
import { seed, small } from "./torrents.ts"

/**
 * Each of these is a new part that no file of `src` knows of, as a user or a later folder would add it
 * (docs/extending.md).
 */
const { geometry } = small.metainfo.layout

const pieces = new Map(
  Array.from({ length: geometry.pieceCount }, (_, piece) => [piece, small.content(piece as PieceIndex)])
)

describe("a part that is added from outside", () => {
  it.effect("a source of peers that finds addresses now and then", () =>
    Swarms.use({ seed }, (world) =>
      Effect.gen(function* () {
        const rumours = yield* PubSub.unbounded<PeerAddress>({ replay: 10 })
        const source: PeerSource = {
          isLocal: true,
          peers: () =>
            Stream.map(Stream.fromPubSub(rumours), (address) => ({
              _tag: "Peers" as const,
              source: "rumours",
              addresses: [address]
            }))
        }
        const download = yield* world.download(small, { sources: [source] })
        yield* world.advance("5 seconds")
        const before = download.isComplete()
        const peer = yield* world.join(small, PeerBehaviour.honest)

        yield* PubSub.publish(rumours, peer.address)
        yield* world.until(download.isComplete, "2 minutes")

        assert.isFalse(before)
        assert.isTrue((yield* world.summary(download)).isRight)
      })
    )
  )

  it.effect("an encryption that transforms every byte of a connection", () =>
    Swarms.use({ seed, engine: { listen: { port: 6_881 } } }, (world) =>
      Effect.gen(function* () {
        const second = yield* world.beside()
        const stored = Bitfield.full(geometry.pieceCount)
        yield* world.download(small, { seed: true, from: { stored, resume: undefined } })
        const download = yield* second.download(small, { peers: [{ host: world.host, port: 6_881 }] })

        yield* world.until(download.isComplete, "2 minutes")

        assert.isTrue((yield* second.summary(download)).isRight)
      })
    ).pipe(Effect.provideService(Encryption, inverting()))
  )

  it.effect("a supplier that has every piece in a map, without a peer", () =>
    Swarms.use({ seed }, (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(small)

        yield* world.until(download.isComplete, "1 minute")
        const summary = yield* world.summary(download)

        assert.isTrue(summary.isRight)
        assert.strictEqual(summary.status.downloadedBytes, geometry.totalLength)
        assert.deepStrictEqual(new Set(summary.writes), new Set([1]))
      })
    ).pipe(Effect.provideService(SupplierSources, [MapSupplier.make(pieces)]))
  )

  it.effect("a supplier that has some pieces, besides a peer that has the others", () =>
    Swarms.use({ seed }, (world) =>
      Effect.gen(function* () {
        const download = yield* world.download(small, { behaviours: [{ pieces: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] }] })

        yield* world.until(download.isComplete, "2 minutes")

        assert.isTrue((yield* world.summary(download)).isRight)
      })
    ).pipe(
      Effect.provideService(SupplierSources, [MapSupplier.make(new Map([...pieces].filter(([piece]) => piece >= 8)))])
    )
  )

  it.effect("a supplier that lies is expelled, and the torrent completes from a peer", () =>
    Effect.gen(function* () {
      const expelled: Array<string> = []
      const wrong = new Map(Array.from(pieces, ([piece, bytes]) => [piece, bytes.map((byte) => byte ^ 0x55)]))
      const liar = MapSupplier.make(wrong, (why) => expelled.push(why))

      const summary = yield* Swarms.use({ seed }, (world) =>
        Effect.gen(function* () {
          const download = yield* world.download(small, { behaviours: [PeerBehaviour.honest] })
          yield* world.until(download.isComplete, "5 minutes")
          return yield* world.summary(download)
        })
      ).pipe(Effect.provideService(SupplierSources, [liar]))

      assert.isTrue(summary.isRight)
      assert.match(expelled[0] ?? "", /^it sent wrong bytes for piece \d+$/)
    })
  )

  it.effect("a supplier whose source ends has left: what others send of its pieces is judged without it", () =>
    Swarms.use({ seed }, (world) =>
      Effect.gen(function* () {
        const rotten = { delay: "3 seconds", corrupts: { pieces: [7] } } as const
        const download = yield* world.download(small, { behaviours: [rotten] })

        yield* world.advance("3 minutes")

        const tags = download.events.map(({ _tag }) => _tag)
        assert.notInclude(tags, "PeerBanned")
        assert.include(tags, "PieceDamaged")
        assert.strictEqual((yield* download.torrent.status).storedPieces, geometry.pieceCount - 1)
      })
    ).pipe(Effect.provideService(SupplierSources, [MapSupplier.ending("1 second")]))
  )
})
