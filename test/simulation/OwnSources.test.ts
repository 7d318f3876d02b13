import { assert, describe, it } from "@effect/vitest"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Monotonic from "../../src/base/Monotonic.ts"
import type { PeerAddress } from "../../src/base/PeerAddress.ts"
import type { PeerSource } from "../../src/discovery/PeerSource.ts"
import type * as Engine from "../../src/engine/Engine.ts"
import * as Magnet from "../../src/metainfo/Magnet.ts"
import * as PeerBehaviour from "../../src/testing/PeerBehaviour.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import type { Torrent } from "../../src/torrent/Torrent.ts"
import { seed, small } from "./torrents.ts"

/** Where a source of a user looks for peers. */
class Directory extends Context.Service<
  Directory,
  { readonly addresses: Effect.Effect<ReadonlyArray<PeerAddress>, string> }
>()("test/Directory") {}

const directory: PeerSource<string, Directory> = {
  name: "directory",
  isLocal: true,
  peers: () =>
    Stream.map(Stream.fromEffect(Directory.use(({ addresses }) => addresses)), (addresses) => ({
      _tag: "Peers",
      source: "directory",
      addresses
    }))
}

const failing: PeerSource<string> = { name: "failing", peers: () => Stream.fail("it is closed") }
const dying: PeerSource = { name: "dying", peers: () => Stream.die(new Error("a bug")) }

type Equals<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

describe("a source of peers that a user has written", () => {
  it.effect("is asked again after it failed, and its failures and those of others never end the torrent", () =>
    Swarms.use({ seed }, (world) =>
      Effect.gen(function* () {
        const { address } = yield* world.join(small, PeerBehaviour.honest)
        let asked = 0
        const addresses = Effect.suspend(() =>
          ++asked < 3 ? Effect.fail("it does not answer") : Effect.succeed([address])
        )
        const scope = yield* Effect.scope

        const added = world.engine.add(small.metainfo, { sources: [failing, dying, directory] })
        const torrent = yield* Effect.provideService(added, Directory, { addresses })
        const reports: Array<string> = []
        yield* Effect.forkIn(
          Stream.runForEach(torrent.events, (event) =>
            Effect.sync(() => {
              if (event._tag === "SourceFailed") reports.push(`${event.source}: ${event.why}`)
              if (event._tag === "Completed") reports.push("completed")
            })
          ),
          scope
        )
        yield* world.advance("2 minutes")

        const typed: Equals<
          typeof added,
          Effect.Effect<Torrent, Engine.AlreadyAdded | Engine.OnlyV2, Scope.Scope | Directory>
        > = true
        assert.isTrue(typed)
        assert.strictEqual((yield* torrent.status).state._tag, "Complete")
        assert.deepStrictEqual(
          reports.filter((report) => /^directory|^completed/.test(report)),
          ["directory: it does not answer", "directory: it does not answer", "completed"]
        )
        // At 0, 10 and 30 seconds; then it was complete, and asked nobody.
        assert.deepStrictEqual(
          reports.filter((report) => report.startsWith("failing")),
          Array(3).fill("failing: it is closed")
        )
        assert.includeMembers(reports, ["dying: an internal error: a bug"])
      })
    )
  )

  it.effect("is asked in rounds while peers are wanted, and again after a round that failed", () =>
    Swarms.use({ seed }, (world) =>
      Effect.gen(function* () {
        const { address } = yield* world.join(small, PeerBehaviour.honest)
        const asked: Array<number> = []
        let dueAt = Number.NEGATIVE_INFINITY
        const inRounds: PeerSource<string, Directory> = {
          ...directory,
          peers: () => Stream.die(new Error("a torrent uses the rounds")),
          rounds: (context) => ({
            isDue: (now) => now >= dueAt,
            round: () =>
              Stream.unwrap(
                Effect.map(Monotonic.now, (now) => {
                  asked.push(now)
                  dueAt = now + 60_000
                  return directory.peers(context)
                })
              )
          })
        }
        const addresses = Effect.suspend(() =>
          asked.length === 1 ? Effect.fail("it does not answer") : Effect.succeed(asked.length === 2 ? [] : [address])
        )
        const failures: Array<string> = []

        const added = world.engine.add(small.metainfo, { sources: [inRounds] })
        const torrent = yield* Effect.provideService(added, Directory, { addresses })
        yield* Effect.forkScoped(
          Stream.runForEach(torrent.events, (event) =>
            Effect.sync(() => {
              if (event._tag === "SourceFailed") failures.push(event.why)
            })
          )
        )
        yield* world.advance("10 minutes")

        assert.strictEqual((yield* torrent.status).state._tag, "Complete")
        assert.deepStrictEqual(failures, ["it does not answer"])
        // After 10 seconds because it failed, then when it was due, and not when it was complete.
        assert.deepStrictEqual(
          asked.map((at) => Math.floor((at - asked[0]!) / 10_000)),
          [0, 1, 7]
        )
      })
    )
  )

  it.effect("does not end its torrent if it throws, and is asked again", () =>
    Swarms.use({ seed }, (world) =>
      Effect.gen(function* () {
        const { address } = yield* world.join(small, PeerBehaviour.honest)
        let calls = 0
        const unprepared: PeerSource = {
          ...directory,
          name: "unprepared",
          peers: () => Stream.die(new Error("a torrent uses the rounds")),
          rounds: () => {
            if (++calls < 3) throw new Error("it is not ready")
            return { isDue: () => false, round: () => Stream.empty }
          }
        }
        let asked = 0
        const undecided: PeerSource = {
          ...directory,
          name: "undecided",
          peers: () => Stream.die(new Error("a torrent uses the rounds")),
          rounds: () => ({
            isDue: () => {
              if (++asked < 4) throw new Error("it does not know")
              return true
            },
            round: () => Stream.make({ _tag: "Peers", source: "undecided", addresses: [address] })
          })
        }
        const scope = yield* Effect.scope

        const torrent = yield* world.engine.add(small.metainfo, { sources: [unprepared, undecided] })
        const reports: Array<string> = []
        yield* Effect.forkIn(
          Stream.runForEach(torrent.events, (event) =>
            Effect.sync(() => {
              if (event._tag === "SourceFailed") reports.push(`${event.source}: ${event.why}`)
            })
          ),
          scope
        )
        yield* world.advance("2 minutes")

        assert.strictEqual((yield* torrent.status).state._tag, "Complete")
        assert.deepStrictEqual(reports.toSorted(), [
          ...Array(3).fill("undecided: an internal error: it does not know"),
          ...Array(2).fill("unprepared: an internal error: it is not ready")
        ])
      })
    )
  )

  it.effect("needs nothing more if its torrent needs nothing more", () =>
    Swarms.use({ seed }, ({ engine }) =>
      Effect.gen(function* () {
        const link = yield* Effect.fromResult(Magnet.parse(`magnet:?xt=urn:btih:${"0".repeat(40)}`))
        const plain = engine.add(small.metainfo)
        const failed = engine.add(small.metainfo, { sources: [failing] })
        const magnet = engine.metadata(link, { sources: [directory] })

        const types: [
          Equals<Effect.Services<typeof plain>, Scope.Scope>,
          Equals<Effect.Services<typeof failed>, Scope.Scope>,
          Equals<Effect.Services<typeof magnet>, Directory>
        ] = [true, true, true]
        assert.deepStrictEqual(types, [true, true, true])
      })
    )
  )

  it.effect("may fail while the metadata of a magnet link is fetched", () =>
    Swarms.use({ seed, engine: { listen: { port: 6_881 } } }, (world) =>
      Effect.gen(function* () {
        const seeder = yield* world.beside({ engine: { listen: { port: 6_882 } } })
        const { address } = yield* world.join(small, PeerBehaviour.honest)
        yield* seeder.download(small, { peers: [address], seed: true })
        yield* world.advance("10 seconds")
        const link = {
          ...(yield* Effect.fromResult(Magnet.parse(`magnet:?xt=urn:btih:${"0".repeat(40)}`))),
          infoHash: small.metainfo.infoHash
        }
        const addresses = Effect.succeed([{ host: seeder.host, port: 6_882 }])
        const reports: Array<string> = []

        const { metainfo } = yield* world.engine
          .metadata(link, {
            sources: [failing, dying, directory],
            report: (_, event) => void (event?._tag === "Failed" && reports.push(event.source))
          })
          .pipe(Effect.provideService(Directory, { addresses }), world.simulation.during)

        assert.deepStrictEqual(metainfo.infoBytes, small.metainfo.infoBytes)
        assert.includeMembers(reports, ["failing", "dying"])
      })
    )
  )
})
