import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Option from "effect/Option"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Bitfield from "../../src/base/Bitfield.ts"
import * as InfoHash from "../../src/base/InfoHash.ts"
import * as PeerAddress from "../../src/base/PeerAddress.ts"
import * as Magnet from "../../src/metainfo/Magnet.ts"
import type { KnownTorrent } from "../../src/testing/KnownTorrent.ts"
import * as Swarms from "../../src/testing/Swarms.ts"
import { make, seed, small } from "./torrents.ts"

const listen = { port: 6_881 }
const addressOf = ({ host }: Swarms.World) => ({ host, ...listen })

const linkOf = ({ metainfo }: KnownTorrent, more = "") =>
  Result.getOrThrow(Magnet.parse(`magnet:?xt=urn:btih:${InfoHash.toHex(metainfo.infoHash)}&dn=shown${more}`))

const everything = { stored: Bitfield.full(small.metainfo.layout.geometry.pieceCount), resume: undefined }

/** A world with a second engine that knows the content of `small`. */
const test = <E>(
  name: string,
  program: (world: Swarms.World, second: Swarms.World) => Effect.Effect<void, E, Scope.Scope>
) =>
  it.effect(name, () =>
    Swarms.use({ seed, engine: { listen } }, (world) =>
      Effect.gen(function* () {
        const second = yield* world.beside({ engine: { listen } })
        const known = yield* second.download(small)
        yield* known.stop
        yield* program(world, second)
      })
    )
  )

describe("a torrent that is added by a magnet link", () => {
  test("is there at once, fetches its metadata and downloads by itself", (world, { engine, medium }) =>
    Effect.gen(function* () {
      const torrent = yield* engine.add(linkOf(small, `&x.pe=${PeerAddress.format(addressOf(world))}`))
      const metainfo = yield* Effect.forkScoped(torrent.metainfo)
      const before = yield* torrent.status
      const listed = yield* engine.torrents
      const twice = yield* Effect.flip(engine.add(small.metainfo))
      yield* world.advance("10 seconds")
      const fetching = yield* torrent.status
      yield* world.download(small, { seed: true, from: everything })
      yield* world.until(() => metainfo.pollUnsafe() !== undefined, "5 minutes")
      const events = yield* Effect.forkScoped(Stream.runCollect(torrent.events))
      yield* world.simulation.during(torrent.completed)

      assert.deepStrictEqual([before.state._tag, before.name, before.totalBytes], ["FetchingMetadata", "shown", 0])
      assert.deepStrictEqual(listed, [torrent])
      assert.strictEqual(twice._tag, "piecewise/AlreadyAdded")
      assert.deepStrictEqual([fetching.state._tag, fetching.knownPeers], ["FetchingMetadata", 1])
      assert.deepStrictEqual((yield* Fiber.join(metainfo)).infoBytes, small.metainfo.infoBytes)
      const after = yield* torrent.status
      assert.deepStrictEqual([after.state._tag, after.name], ["Complete", "known"])
      assert.isNotEmpty(medium.paths())
      assert.isUndefined(events.pollUnsafe())
    }))

  test("fails, and stays listed, if the program's choice of files dies", (world, { engine }) =>
    Effect.gen(function* () {
      const wrong = yield* Effect.promise(() =>
        make({ name: "wrong", files: [{ path: [], length: 9 }], pieceLength: 16_384 })
      )
      yield* world.download(wrong, { from: { stored: Bitfield.full(1), resume: undefined }, seed: true })
      const torrent = yield* engine.add(linkOf(wrong, `&x.pe=${PeerAddress.format(addressOf(world))}`), {
        files: () => {
          throw new Error("no such file")
        }
      })
      yield* world.advance("1 minute")

      const { state } = yield* torrent.status
      assert.strictEqual(state._tag === "Failed" && state.error._tag, "piecewise/TorrentDefect")
      assert.isTrue(Option.isSome(yield* engine.get(wrong.metainfo.infoHash)), "it is listed until it is removed")
    }))

  test("may be paused, resumed, and removed while its metadata is fetched", (world, { engine }) =>
    Effect.gen(function* () {
      const torrent = yield* engine.add(linkOf(small), { isPaused: true, peers: [addressOf(world)] })
      const waiting = yield* Effect.forkScoped(Effect.flip(torrent.metainfo))
      yield* world.download(small, { seed: true, from: everything })
      yield* world.advance("1 minute")
      const paused = yield* torrent.status
      const { connections } = yield* world.network.counts
      yield* world.simulation.during(torrent.pause)
      yield* world.simulation.during(torrent.remove({ data: true }))

      assert.deepStrictEqual([paused.state._tag, paused.isPaused, connections], ["Paused", true, 0])
      assert.strictEqual((yield* Fiber.join(waiting))._tag, "piecewise/TorrentStopped")
      assert.deepStrictEqual(yield* engine.torrents, [])
      const again = yield* engine.add(linkOf(small), { peers: [addressOf(world)] })
      yield* world.advance("100 millis")
      yield* world.simulation.during(again.pause)
      yield* again.resume
      yield* world.simulation.during(again.completed)
    }))

  test("keeps what proves its files to be its own if it is removed before its metadata is known", (_, second) =>
    Effect.gen(function* () {
      const { engine, medium, resume, simulation } = second
      const first = yield* second.download(small, { behaviours: [{}] })
      yield* second.until(first.isComplete, "1 minute")
      yield* first.stop
      const before = medium.paths()
      const torrent = yield* engine.add(linkOf(small), { isPaused: true })
      yield* second.advance("1 second")

      const early = yield* simulation.during(torrent.remove({ data: true }))
      const meanwhile = medium.paths()
      const saved = resume.saved(small.metainfo.infoHash)
      const again = yield* engine.add(small.metainfo)
      yield* second.advance("1 second")
      const late = yield* simulation.during(again.remove({ data: true }))

      assert.isNotEmpty(before)
      assert.deepStrictEqual(meanwhile, before)
      assert.isDefined(saved)
      assert.deepStrictEqual([early.isRemembered, late.isRemembered], [true, false])
      assert.deepStrictEqual(medium.paths(), [])
      assert.isUndefined(resume.saved(small.metainfo.infoHash))
    }))

  test("takes the metadata from a peer that connects to it", (world, second) =>
    Effect.gen(function* () {
      const torrent = yield* second.engine.add(linkOf(small))
      yield* world.advance("5 seconds")
      yield* world.download(small, { seed: true, from: everything, peers: [addressOf(second)] })

      yield* world.simulation.during(torrent.completed)

      assert.strictEqual((yield* torrent.status).state._tag, "Complete")
    }))

  test("downloads the files that the link selects (BEP 53), or that the program chooses", (world, { engine }) =>
    Effect.gen(function* () {
      yield* world.download(small, { seed: true, from: everything })
      const torrent = yield* engine.add(linkOf(small, "&so=0"), { peers: [addressOf(world)] })
      yield* world.simulation.during(torrent.completed)
      const selected = yield* torrent.files
      yield* world.simulation.during(torrent.remove({ data: true }))
      const again = yield* engine.add(linkOf(small, "&so=0"), {
        peers: [addressOf(world)],
        files: ({ layout }) => layout.files.map(({ path }) => (path.at(-1) === "c.bin" ? "high" : "skip"))
      })
      yield* world.simulation.during(again.completed)
      const chosen = yield* again.files

      assert.deepStrictEqual(
        selected.map(({ priority }) => priority),
        ["normal", "skip", "skip"]
      )
      assert.deepStrictEqual(
        selected.map(({ isComplete }) => isComplete),
        [true, true, false]
      )
      assert.deepStrictEqual(
        chosen.map(({ priority }) => priority),
        ["skip", "skip", "high"]
      )
    }))
})
