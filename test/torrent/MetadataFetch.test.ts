import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as fc from "fast-check"
import type { PeerId } from "../../src/base/PeerId.ts"
import * as Prng from "../../src/base/Prng.ts"
import * as Encryption from "../../src/connect/Encryption.ts"
import * as Places from "../../src/connect/Places.ts"
import type { MetadataSource } from "../../src/discovery/MetadataSource.ts"
import { MetadataSources } from "../../src/discovery/MetadataSource.ts"
import * as PeerSource from "../../src/discovery/PeerSource.ts"
import * as WebCryptoPieceHasher from "../../src/hash/provider/WebCryptoPieceHasher.ts"
import * as ListeningPort from "../../src/network/ListeningPort.ts"
import * as KnownTorrent from "../../src/testing/KnownTorrent.ts"
import * as MemoryNetwork from "../../src/testing/MemoryNetwork.ts"
import * as Simulation from "../../src/testing/Simulation.ts"
import * as MetadataFetch from "../../src/torrent/MetadataFetch.ts"
import type { Manner } from "./metadataPeer.ts"
import * as MetadataPeer from "./metadataPeer.ts"

const ourId = new Uint8Array(20).fill(1) as PeerId

/** A torrent whose info dict takes three messages. */
const torrent = KnownTorrent.make({ files: [{ path: [], length: 2_000 * 1_024 }], pieceLength: 1_024 })

/** Fetches from peers that behave in these manners. Returns when it ended, with what, and what the peers saw. */
const fetchFrom = (
  manners: ReadonlyArray<Manner>,
  limit = 3_600,
  peerId?: Uint8Array,
  elsewhere: ReadonlyArray<MetadataSource> = [],
  report?: MetadataFetch.Options["report"]
) =>
  Simulation.run(
    1,
    Effect.gen(function* () {
      const { metainfo } = yield* torrent
      const { infoBytes: info, infoHash } = metainfo
      const simulation = yield* Simulation.Simulation
      const peers = yield* Effect.forEach(manners, (manner, index) => {
        const host = `10.0.0.${index + 1}`
        return Effect.provide(MetadataPeer.serve({ host, infoHash, info, manner, peerId }), MemoryNetwork.host(host))
      })
      const places = Places.make(200)
      const fiber = yield* Effect.forkChild(
        MetadataFetch.run({
          infoHash,
          peerId: ourId,
          port: yield* ListeningPort.make(undefined),
          sources: [PeerSource.fromAddresses(peers.map(({ address }) => address))],
          random: Prng.make(1),
          urls: ["http://x.example/"],
          report,
          places
        }).pipe(Effect.provideService(MetadataSources, elsewhere))
      )
      yield* simulation.settle
      while (fiber.pollUnsafe() === undefined && simulation.nowUnsafe() < limit * 1_000) yield* simulation.advance(500)
      const exit = fiber.pollUnsafe()
      return {
        info,
        fetched: exit?._tag === "Success" ? exit.value : undefined,
        seconds: simulation.nowUnsafe() / 1_000,
        counters: peers.map(({ counters }) => counters),
        greetings: peers.flatMap(({ greetings }) => greetings),
        held: places.held.size
      }
    }).pipe(Effect.provide(MemoryNetwork.layer({ seed: 1 })))
  )

const manner: fc.Arbitrary<Manner> = fc.constantFrom(
  "lies",
  "silent",
  "rejects",
  "closes",
  "wrong size",
  "no extensions",
  "no size"
)

describe("MetadataFetch", () => {
  it.effect("fetches the info dict from one honest peer, with one request for each of its pieces", () =>
    Effect.gen(function* () {
      const { counters, fetched, held, info } = yield* fetchFrom(["honest"])

      assert.deepStrictEqual(fetched?.info, info)
      assert.deepStrictEqual(fetched?.addresses, [{ host: "10.0.0.1", port: 6_881 }])
      assert.deepStrictEqual(counters, [{ connections: 1, requests: 3 }])
      assert.strictEqual(held, 0)
    })
  )

  it.effect("says that it prefers encryption unless it has none", () =>
    Effect.gen(function* () {
      const said: Array<boolean | undefined> = []
      for (const policy of ["prefer", "require", "off"] as const) {
        const encryption = { ...Encryption.plain, policy }
        const fetching = Effect.provideService(fetchFrom(["honest"]), Encryption.Encryption, encryption)
        said.push(...(yield* fetching).greetings.map(({ prefersEncryption }) => prefersEncryption))
      }

      assert.deepStrictEqual(said, [true, true, false])
    })
  )

  it.effect("fault 37: finds the right info dict between two liars, and does not return their addresses", () =>
    Effect.gen(function* () {
      const { fetched, info } = yield* fetchFrom(["lies", "lies", "honest"])

      assert.deepStrictEqual(fetched?.info, info)
      assert.deepStrictEqual(
        fetched?.addresses.map(({ host }) => host),
        ["10.0.0.3"]
      )
    })
  )

  /** A source that finds these files one after the other, a second each, and notes its end. */
  const finds = (files: ReadonlyArray<Uint8Array>, ended: Array<string> = []): MetadataSource => ({
    metadata: ({ urls }) =>
      Stream.fromIterable(files).pipe(
        Stream.tap(() => Effect.sleep("1 second")),
        Stream.ensuring(Effect.sync(() => ended.push(...urls)))
      )
  })

  it.effect("takes the torrent file of a source while no peer has the info dict, and its trackers", () =>
    Effect.gen(function* () {
      const known = yield* torrent
      const progress: Array<boolean> = []
      const ended: Array<string> = []

      const { fetched, held, info } = yield* fetchFrom(
        ["silent"],
        60,
        undefined,
        [finds([known.bytes], ended)],
        (now) => progress.push(now.isAskingElsewhere)
      )

      assert.deepStrictEqual(fetched?.info, info)
      assert.deepStrictEqual(fetched?.file?.infoHash, known.metainfo.infoHash)
      assert.deepStrictEqual(fetched?.addresses, [{ host: "10.0.0.1", port: 6_881 }])
      assert.deepStrictEqual([progress[0], progress.includes(false)], [true, false])
      assert.deepStrictEqual([ended, held], [["http://x.example/"], 0])
    }).pipe(Effect.provide(WebCryptoPieceHasher.layer))
  )

  it.effect("interrupts the sources if a peer is first, and peers if a source is first", () =>
    Effect.gen(function* () {
      const ended: Array<string> = []
      const never: MetadataSource = {
        metadata: () =>
          Stream.ensuring(
            Stream.never,
            Effect.sync(() => ended.push("interrupted"))
          )
      }

      const { fetched, info, seconds } = yield* fetchFrom(["honest"], 60, undefined, [never])

      assert.deepStrictEqual(fetched?.info, info)
      assert.isUndefined(fetched?.file)
      assert.isBelow(seconds, 10)
      assert.deepStrictEqual(ended, ["interrupted"])
    })
  )

  it.effect(
    "fault 77: ignores files with another info hash and what is no torrent file, and says when none is left",
    () =>
      Effect.gen(function* () {
        const known = yield* torrent
        const other = yield* KnownTorrent.make({ files: [{ path: [], length: 5 }], pieceLength: 1_024 })
        const progress: Array<boolean> = []
        const wrong = finds([new Uint8Array(), new TextEncoder().encode("<html>"), other.bytes])

        const none = yield* fetchFrom(["silent"], 60, undefined, [wrong], (now) => progress.push(now.isAskingElsewhere))
        const right = yield* fetchFrom(["silent"], 60, undefined, [wrong, finds([other.bytes, known.bytes])])

        assert.isUndefined(none.fetched)
        assert.strictEqual(progress.at(-1), false)
        assert.deepStrictEqual(right.fetched?.info, right.info)
      }).pipe(Effect.provide(WebCryptoPieceHasher.layer))
  )

  it.effect("fault 77: compares the info hash before it parses a file, so that only the torrent is parsed", () =>
    Effect.gen(function* () {
      const known = yield* torrent
      // Its end is missing, so it cannot be parsed.
      const damaged = known.bytes.subarray(0, -1)

      const { fetched, info } = yield* fetchFrom(["silent"], 60, undefined, [finds([damaged])])

      assert.deepStrictEqual(fetched?.info, info)
      assert.isUndefined(fetched?.file)
    }).pipe(Effect.provide(WebCryptoPieceHasher.layer))
  )

  it.effect("goes on for as long as no peer has it", () =>
    Effect.gen(function* () {
      const { counters, fetched } = yield* fetchFrom(["silent", "no extensions"], 120)

      assert.isUndefined(fetched)
      // A peer without the info dict is asked again at growing intervals.
      assert.isAtLeast(counters[1]!.connections, 2)
      assert.isAtMost(counters[1]!.connections, 10)
    })
  )

  it.effect("an honest peer can join although a silent one has its peer id", () =>
    Effect.gen(function* () {
      const { fetched, info } = yield* fetchFrom(["silent", "honest"], 120, new Uint8Array(20).fill(9))

      assert.deepStrictEqual(fetched?.info, info)
    })
  )

  it.effect("law: one honest peer is enough, whatever other peers there are", () =>
    Effect.promise(() =>
      fc.assert(
        fc.asyncProperty(fc.array(manner, { maxLength: 6 }), fc.nat(6), (others, place) => {
          const manners: ReadonlyArray<Manner> = [...others.slice(0, place), "honest", ...others.slice(place)]
          return Effect.runPromise(
            Effect.map(fetchFrom(manners), ({ fetched, info }) => assert.deepStrictEqual(fetched?.info, info))
          )
        }),
        { numRuns: 30 }
      )
    )
  )
})
