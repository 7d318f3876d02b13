import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as fc from "fast-check"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as InfoHash from "../../src/base/InfoHash.ts"
import type { PeerAddress } from "../../src/base/PeerAddress.ts"
import * as Magnet from "../../src/metainfo/Magnet.ts"
import * as PeerScript from "../../src/testing/arbitrary/PeerScript.ts"
import * as FaultyStorage from "../../src/testing/FaultyStorage.ts"
import * as Property from "../../src/testing/Property.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import { make, small } from "./torrents.ts"

/** Six pieces of one block, so that the end game is most of the download. */
const tiny = await make({ name: "tiny", seed: 3, pieceLength: 16_384, files: [{ path: [], length: 6 * 16_384 - 7 }] })

/** By name, so that a counterexample is short. */
const torrents = { small, tiny }

const port = 6_881

/** What happens to an engine that downloads. Times are in seconds. */
const downloader = fc.record({
  /** When it joins. */
  joinsAt: fc.integer({ min: 0, max: 30 }),
  byMagnet: fc.boolean(),
  bufferBytes: fc.constantFrom(65_536, 131_072, 67_108_864),
  failingWrites: fc.constantFrom(0, 0, 0.2, 0.6),
  writeMillis: fc.constantFrom(0, 0, 50, 2_000),
  downloadBytesPerSecond: fc.constantFrom(undefined, undefined, 30_000, 200_000),
  uploadBytesPerSecond: fc.constantFrom(undefined, undefined, 20_000, 100_000),
  order: fc.constantFrom("rarest" as const, "sequential" as const),
  /** When its process is killed, or its machine loses power, and started again elsewhere; `undefined` if never. */
  crash: fc.option(fc.record({ at: fc.integer({ min: 1, max: 40 }), cutsPower: fc.boolean() }), { nil: undefined }),
  /** When no byte reaches it or leaves it, and for how long. */
  partition: fc.option(fc.record({ at: fc.integer({ min: 0, max: 60 }), lasts: fc.integer({ min: 1, max: 200 }) }), {
    nil: undefined
  })
})

type Downloader = typeof downloader extends fc.Arbitrary<infer D> ? D : never

const turmoil = fc.record({
  seed: fc.nat(),
  torrent: fc.constantFrom("small" as const, "tiny" as const),
  latency: fc.constantFrom(0, 1, 30, 200),
  bytesPerSecond: fc.constantFrom(undefined, 50_000, 1_000_000),
  superSeed: fc.boolean(),
  downloaders: fc.array(downloader, { minLength: 1, maxLength: 11 }),
  others: fc.array(PeerScript.damaged(small.metainfo.layout.geometry), { maxLength: 6 })
})

/** The engine that has everything, and nothing of what happens to others. */
const everything = (known: typeof small): Swarms.Snapshot => ({
  stored: Bitfield.full(known.metainfo.layout.geometry.pieceCount),
  resume: undefined
})

/** Downloads in `world`, and after a crash in another one. Returns both, of which the second may be the same. */
const live = Effect.fnUntraced(function* (
  first: Swarms.World,
  known: typeof small,
  fate: Downloader,
  peers: ReadonlyArray<PeerAddress>
) {
  const { byMagnet, crash, downloadBytesPerSecond, order, uploadBytesPerSecond } = fate
  const limits = { downloadBytesPerSecond, uploadBytesPerSecond }
  const enter = Effect.fnUntraced(function* (world: Swarms.World, left?: Swarms.Snapshot) {
    world.faults.failSometimes("write", fate.failingWrites, FaultyStorage.inputOutputError)
    world.faults.delay("write", fate.writeMillis)
    const others = peers.filter(({ host }) => host !== world.host)
    const cutsPower = left !== undefined && crash?.cutsPower === true
    const options = { peers: others, order, limits, seed: true, from: left, cutsPower } as const
    if (!byMagnet || left !== undefined) return yield* world.download(known, options)
    const { infoHash } = known.metainfo
    const link = yield* Effect.fromResult(Magnet.parse(`magnet:?xt=urn:btih:${InfoHash.toHex(infoHash)}`))
    const { metainfo } = yield* world.engine.metadata(link, { peers: others })
    assert.deepStrictEqual(metainfo.infoHash, infoHash)
    return yield* world.download(known, options)
  })

  yield* Effect.sleep(`${fate.joinsAt} seconds`)
  if (crash === undefined) return { world: first, download: yield* enter(first) }
  const running = yield* Effect.forkScoped(enter(first))
  yield* Effect.sleep(`${crash.at} seconds`)
  const left = first.snapshot(known)
  const download = running.pollUnsafe() === undefined ? undefined : yield* Fiber.join(running)
  yield* Fiber.interrupt(running)
  if (download !== undefined) yield* download.halt
  const world = yield* first.beside({ engine: { listen: { port }, bufferBytes: fate.bufferBytes } })
  return { world, download: yield* enter(world, left) }
})

const isolate = Effect.fnUntraced(function* ({ host, network }: Swarms.World, { partition }: Downloader) {
  if (partition === undefined) return
  yield* Effect.sleep(`${partition.at} seconds`)
  yield* network.partition(host)
  yield* Effect.sleep(`${partition.lasts} seconds`)
  yield* network.heal(host)
})

describe("a swarm in turmoil", () => {
  it.effect(
    "completes everywhere, with every byte right, as long as one seed stays",
    () =>
      Property.check(
        turmoil,
        ({ bytesPerSecond, downloaders, latency, others, seed, superSeed, torrent }) =>
          Swarms.use(
            { seed, link: { latency, bytesPerSecond }, engine: { listen: { port } } },
            Effect.fnUntraced(function* (first) {
              const known = torrents[torrent]
              const giver = yield* first.download(known, { seed: true, superSeed, from: everything(known) })
              const worlds = yield* Effect.forEach(downloaders, ({ bufferBytes }) =>
                first.beside({ engine: { listen: { port }, bufferBytes } })
              )
              const hostile = yield* Effect.forEach(others, ({ behaviour }) => first.join(known, behaviour))
              const engines = [first, ...worlds].map(({ host }) => ({ host, port }))
              const peers = [...engines, ...hostile.map(({ address }) => address)]
              const lives: Array<Fiber.Fiber<{ world: Swarms.World; download: Swarms.Download }, unknown>> = []
              for (const [index, fate] of downloaders.entries()) {
                lives.push(yield* Effect.forkScoped(live(worlds[index]!, known, fate, peers)))
                yield* Effect.forkScoped(isolate(worlds[index]!, fate))
              }
              const ends = () =>
                lives.map((fiber) => {
                  const exit = fiber.pollUnsafe()
                  return exit?._tag === "Success" ? exit.value : undefined
                })

              const isComplete = yield* first.until(
                () => ends().every((end) => end?.download.isComplete() === true),
                "6 hours"
              )

              const failed = lives.flatMap((fiber) => {
                const exit = fiber.pollUnsafe()
                return exit?._tag === "Failure" ? [String(exit.cause)] : []
              })
              assert.deepStrictEqual(failed, [])
              const found: Array<string> = []
              const hosts = new Set([...engines.map(({ host }) => host)])
              for (const [index, end] of ends().entries()) {
                if (end === undefined) {
                  found.push(`engine ${index} has not begun`)
                  continue
                }
                const { events, isRight, status } = yield* end.world.summary(end.download)
                if (!end.download.isComplete()) found.push(`engine ${index}: ${JSON.stringify(status)}`)
                else if (!isRight) found.push(`engine ${index} is complete, and wrong`)
                for (const event of events) {
                  if (event._tag === "PeerBanned" && hosts.has(event.address.host)) {
                    found.push(`engine ${index} banned ${event.address.host}: ${event.why}`)
                  }
                }
              }
              assert.deepStrictEqual([isComplete, found], [true, []])
              assert.isFalse(giver.events.some(({ _tag }) => _tag === "PeerBanned"))
            })
          ),
        { runs: 8 }
      ),
    300_000
  )
})
