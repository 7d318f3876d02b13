import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import * as FaultyStorage from "../../src/testing/FaultyStorage.ts"
import * as Property from "../../src/testing/Property.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import { small } from "./torrents.ts"

/** What users and the storage do, and how long time passes in between. */
const step = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom("add", "pause", "resume", "recheck", "remove", "remove data", "stop") },
  { weight: 3, arbitrary: fc.constantFrom("100 millis", "1 second", "10 seconds") },
  { weight: 1, arbitrary: fc.constantFrom("fail writes", "fail flushes", "fail removals", "recover") },
  { weight: 1, arbitrary: fc.constantFrom("put a file", "damage") }
)

const run = fc.record({
  seed: fc.integer({ min: 1, max: 1_000_000 }),
  steps: fc.array(step, { minLength: 4, maxLength: 16 }),
  bytesPerSecond: fc.constantFrom(200_000, 2_000_000),
  verifies: fc.boolean()
})

type Run = typeof run extends fc.Arbitrary<infer A> ? A : never

/** Orders that were wrong once, which are tried first. */
const orders: ReadonlyArray<Run["steps"]> = [
  ["add", "1 second", "fail removals", "remove data"],
  ["add", "1 second", "fail flushes", "10 seconds", "10 seconds", "10 seconds", "pause", "recover", "resume"]
]
const examples = orders.map((steps): Run => ({ seed: 1, steps, bytesPerSecond: 200_000, verifies: false }))

/** The path and content of a file that is not the torrent's. */
const foreign = { path: "known/b/c.bin", content: new Uint8Array(900_000).fill(7) }

describe("the lifecycle of a torrent", () => {
  it.effect(
    "law: in any order of what users do, nothing of others is lost and nothing leaks",
    () =>
      Property.check(
        run,
        Effect.fnUntraced(function* ({ bytesPerSecond, seed, steps, verifies }) {
          yield* Swarms.use({ seed, verifies }, (world) =>
            Effect.gen(function* () {
              const { faults, medium, simulation } = world
              let download: Swarms.Download | undefined
              /** What the torrent was last asked to be. */
              let isPaused = false
              let hasForeign = false

              const assertForeign = () => {
                if (hasForeign) assert.deepStrictEqual(medium.read(foreign.path), foreign.content)
              }
              const assertGone = Effect.fnUntraced(function* ({ torrent }: Swarms.Download) {
                const { bufferedBytes, connectedPeers, downloadBytesPerSecond, state } = yield* torrent.status
                const { connections } = yield* world.network.counts
                assert.include(["Stopped", "Failed"], state._tag)
                assert.deepStrictEqual([connectedPeers, bufferedBytes, downloadBytesPerSecond], [0, 0, 0])
                assert.strictEqual(connections, 0)
                assert.strictEqual(yield* world.engine.heldBytes, 0)
                assert.strictEqual(medium.openCount(), 0)
                assert.deepStrictEqual(yield* world.engine.torrents, [])
                download = undefined
              })
              const remove = Effect.fnUntraced(function* (one: Swarms.Download, data: boolean) {
                const exit = yield* simulation.during(Effect.result(one.torrent.remove({ data })))
                if (exit._tag === "Failure")
                  assert.include(["piecewise/RemovalFailed", "piecewise/TorrentStopped"], exit.failure._tag)
                else {
                  assert.isUndefined(world.resume.saved(small.metainfo.infoHash))
                  const left = medium.paths().filter((path) => path !== foreign.path)
                  // A torrent that failed, or was being checked, is not proved to have made what is there.
                  if (data && exit.success.keptPaths.length === 0) assert.deepStrictEqual(left, [])
                }
                yield* assertGone(one)
              })

              for (const step of steps) {
                const torrent = download?.torrent
                switch (step) {
                  case "add":
                    if (download !== undefined) break
                    isPaused = false
                    download = yield* Effect.orDie(world.download(small, { behaviours: [{ bytesPerSecond }] }))
                    break
                  case "pause":
                    if (torrent === undefined) break
                    isPaused = true
                    yield* simulation.during(torrent.pause)
                    break
                  case "resume":
                    isPaused = false
                    if (torrent !== undefined) yield* torrent.resume
                    break
                  case "recheck":
                    if (torrent === undefined) break
                    // Not waited for: files may be missing until somebody restores them.
                    yield* Effect.forkScoped(Effect.ignore(torrent.recheck))
                    yield* world.advance("1 second")
                    break
                  case "remove":
                  case "remove data":
                    if (download !== undefined) yield* remove(download, step === "remove data")
                    break
                  case "stop":
                    if (download === undefined) break
                    yield* download.stop
                    yield* assertGone(download)
                    break
                  case "fail writes":
                    faults.failAll("write", FaultyStorage.diskFull)
                    break
                  case "fail flushes":
                    faults.failAll("flush", FaultyStorage.inputOutputError)
                    break
                  case "fail removals":
                    faults.failAll("remove", FaultyStorage.refused)
                    break
                  case "recover":
                    faults.recover()
                    break
                  case "put a file":
                    if (hasForeign || download !== undefined || medium.read(foreign.path) !== undefined) break
                    hasForeign = true
                    medium.put(foreign.path, foreign.content)
                    break
                  case "damage":
                    if (medium.read("known/a.bin") !== undefined)
                      medium.modify("known/a.bin", 5, new Uint8Array([9, 9]))
                    break
                  default:
                    yield* world.advance(step as "1 second")
                }
                assertForeign()
                if (download === undefined) continue
                const status = yield* download.torrent.status
                const { _tag } = status.state
                const stored = yield* download.torrent.stored
                if (_tag !== "Failed") assert.strictEqual(status.isPaused, isPaused)
                assert.isAtMost(stored.count, status.totalPieces)
                if (_tag === "Paused") {
                  assert.deepStrictEqual([status.connectedPeers, status.bufferedBytes], [0, 0])
                  assert.strictEqual((yield* world.network.counts).connections, 0)
                  assert.strictEqual(yield* world.engine.heldBytes, 0)
                }
                if (_tag === "Complete") assert.strictEqual(status.missingBytes, 0)
              }

              // Whatever happened, it goes on to its end.
              faults.recover()
              if (hasForeign) medium.remove(foreign.path)
              if (download !== undefined) yield* download.stop
              const last = yield* Effect.orDie(
                world.download(small, { behaviours: [{}], overwrite: true, startOver: true })
              )
              const isDone = yield* world.until(last.isComplete, "5 minutes")
              assert.isTrue(isDone, JSON.stringify(yield* last.torrent.status))
              yield* remove(last, true)
              assert.deepStrictEqual(medium.paths(), [])
            })
          )
        }),
        { runs: 12 + examples.length, examples, testClock: false }
      ),
    // Seconds on a machine that has time for it.
    { timeout: 120_000 }
  )
})
