import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import type { InfoHash } from "../../src/base/InfoHash.ts"
import * as PeerSource from "../../src/discovery/PeerSource.ts"
import { Tracker } from "../../src/discovery/tracker/Tracker.ts"
import * as TrackerSource from "../../src/discovery/tracker/TrackerSource.ts"
import * as PeerSourceSuite from "../../src/testing/suite/PeerSourceSuite.ts"
import type { Case } from "../../src/testing/suite/Suite.ts"
import { runCases } from "../runCases.ts"

const infoHash = new Uint8Array(20).fill(3) as InfoHash
const addresses = [{ host: "10.0.0.1", port: 6_881 }]

/** A tracker that knows one peer. */
const tracker = Layer.mock(Tracker, {
  announce: () =>
    Effect.succeed({
      peers: addresses,
      intervalSeconds: 60,
      minIntervalSeconds: undefined,
      seeders: undefined,
      leechers: undefined,
      trackerId: undefined,
      warning: undefined,
      externalHost: undefined
    })
})

class Directory extends Context.Service<
  Directory,
  { readonly lookUp: Effect.Effect<ReadonlyArray<(typeof addresses)[number]>, "away"> }
>()("test/Directory") {}

/** A source as users write them. */
const directory: PeerSource.PeerSource<"away", Directory> = {
  peers: ({ isPrivate }) =>
    isPrivate
      ? Stream.empty
      : Stream.fromEffectSchedule(
          Directory.use(({ lookUp }) => lookUp),
          Schedule.spaced("1 minute")
        ).pipe(Stream.map((addresses) => ({ _tag: "Peers", source: "ours", addresses })))
}

const known = Layer.succeed(Directory, { lookUp: Effect.succeed(addresses) })

describe("PeerSource (given addresses)", () =>
  runCases(
    PeerSourceSuite.cases({ source: PeerSource.fromAddresses(addresses), infoHash, findsPrivate: true }),
    Layer.empty,
    it.effect
  ))

describe("PeerSource (trackers)", () => {
  const source = {
    peers: (context: PeerSource.PeerSourceContext) =>
      Stream.unwrap(Effect.map(TrackerSource.make(), ({ peers }) => peers(context)))
  }
  const trackers = [["http://tracker/announce"]]
  runCases(PeerSourceSuite.cases({ source, infoHash, trackers, findsPrivate: true }), tracker, it.effect)
})

describe("PeerSource (a directory that a user has written)", () =>
  runCases(PeerSourceSuite.cases({ source: directory, infoHash }), known, it.effect))

describe("PeerSourceSuite", () => {
  /** The cases that fail for a source. */
  const failing = (source: PeerSource.PeerSource<unknown>, cases?: ReadonlyArray<Case<never>>) =>
    Effect.map(
      Effect.forEach(cases ?? PeerSourceSuite.cases({ source, infoHash }), ({ name, run }) =>
        Effect.match(run, { onSuccess: () => [], onFailure: () => [name] })
      ),
      (names) => names.flat()
    )
  const peers = (source: string, found = addresses): PeerSource.PeerSourceEvent => ({
    _tag: "Peers",
    source,
    addresses: found
  })
  const emptyForPrivate = (
    stream: Stream.Stream<PeerSource.PeerSourceEvent, unknown>
  ): PeerSource.PeerSource<unknown> => ({
    peers: ({ isPrivate }) => (isPrivate ? Stream.empty : stream)
  })

  it.effect("finds sources that name no host, ask for private torrents, fail, or run only once", () =>
    Effect.gen(function* () {
      const [dialable, each, isPrivate] = PeerSourceSuite.cases({ source: directory, infoHash }).map(({ name }) => name)
      let runs = 0

      const results = [
        yield* failing(emptyForPrivate(Stream.make(peers("ours")))),
        yield* failing(emptyForPrivate(Stream.make(peers("ours", [{ host: "", port: 0 }])))),
        yield* failing(emptyForPrivate(Stream.make(peers("")))),
        yield* failing({ peers: () => Stream.make(peers("ours")) }),
        yield* failing(emptyForPrivate(Stream.suspend(() => (runs++ > 0 ? Stream.empty : Stream.make(peers("ours")))))),
        yield* failing(emptyForPrivate(Stream.fail("away")))
      ]

      assert.deepStrictEqual(results, [[], [dialable], [dialable], [isPrivate], [each], [dialable, each]])
    })
  )
})
