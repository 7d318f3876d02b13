import { mkdtemp, readFile, rm } from "node:fs/promises"
import { tmpdir } from "node:os"
import * as path from "node:path"
import { afterEach, assert, beforeEach, describe, it, vi } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Example from "../../examples/promise.ts"
import * as Engine from "../../src/engine/Engine.ts"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import * as TcpTransport from "../../src/network/provider/node/TcpTransport.ts"
import * as NodeEngine from "../../src/node/NodeEngine.ts"
import { fromLayer, open, type Engine as PromisedEngine } from "../../src/promise/node/index.ts"
import { Storage } from "../../src/storage/Storage.ts"
import * as KnownTorrent from "../../src/testing/KnownTorrent.ts"
import * as ScriptedPeer from "../../src/testing/ScriptedPeer.ts"

const known = await Effect.runPromise(
  Effect.provide(
    KnownTorrent.make({ name: "promised", files: [{ path: [], length: 300_000 }], pieceLength: 65_536 }),
    NodePieceHasher.layer
  )
)

/** A peer of the torrent on loopback, until the callback's promise is settled. */
const withPeer = <A>(use: (address: { readonly host: string; readonly port: number }) => Promise<A>): Promise<A> =>
  Effect.gen(function* () {
    const { infoHash, layout } = known.metainfo
    const peer = yield* ScriptedPeer.serve({ infoHash, geometry: layout.geometry, content: known.content })
    return yield* Effect.promise(() => use(peer.address))
  }).pipe(
    Effect.scoped,
    Effect.provide(Layer.mergeAll(NodePieceHasher.layer, TcpTransport.layerListener)),
    Effect.runPromise
  )

const rejected = async (promise: Promise<unknown>): Promise<unknown> => {
  try {
    await promise
  } catch (error) {
    return error
  }
  return assert.fail("it was fulfilled")
}

const tagOf = (error: unknown): unknown => (error instanceof Error && "_tag" in error ? error._tag : error)

describe("piecewise/promise", () => {
  let directory = ""
  let engine: PromisedEngine
  beforeEach(async () => {
    directory = await mkdtemp(path.join(tmpdir(), "piecewise-promise-"))
    engine = await open({ directory, from: "127.0.0.1", telemetry: { logs: false } })
  })
  afterEach(async () => {
    await engine.close()
    await rm(directory, { recursive: true, force: true })
  })

  it("downloads, reads while it downloads, and says what is stored", () =>
    withPeer(async (address) => {
      await using torrent = await engine.add(known.bytes, { peers: [address] })
      const chunks: Array<Uint8Array> = []
      for await (const chunk of torrent.read(0, { begin: 1, end: 299_999 })) chunks.push(chunk)
      await torrent.completed()

      assert.isTrue(Buffer.concat(chunks).equals(known.fileContent(0).subarray(1, 299_999)))
      assert.isTrue((await readFile(path.join(directory, "promised"))).equals(known.fileContent(0)))
      assert.strictEqual((await torrent.stored()).count, known.metainfo.layout.geometry.pieceCount)
      assert.strictEqual((await torrent.status()).state._tag, "Complete")
      const tags: Array<string> = []
      for await (const { _tag } of torrent.events()) {
        tags.push(_tag)
        if (_tag === "Completed") break
      }
      assert.include(tags, "PieceStored")
    }))

  it("is used by an example, which reads a torrent and says how far it is", () =>
    withPeer(async ({ host, port }) => {
      const said: Array<string> = []
      vi.spyOn(console, "log").mockImplementation((line) => void said.push(line))
      const length = await Example.download(engine, known.bytes, [`${host}:${port}`]).finally(() =>
        vi.restoreAllMocks()
      )

      assert.strictEqual(length, 300_000)
      assert.match(said[0]!, /^\d+ bytes to go$/)
      assert.deepStrictEqual(engine.torrents(), [])
    }))

  it("rejects with the class of the error", async () => {
    assert.strictEqual(tagOf(await rejected(engine.add(new Uint8Array(3)))), "piecewise/MetainfoError")
    assert.strictEqual(tagOf(await rejected(engine.add("magnet:nothing"))), "piecewise/MagnetError")
    await engine.add(known.bytes)
    assert.strictEqual(tagOf(await rejected(engine.add(known.bytes))), "piecewise/AlreadyAdded")
  })

  it("ends what an aborted signal waits for, and nothing else", async () => {
    const torrent = await engine.add(known.bytes)
    const reason = new Error("enough")
    const waiting = new AbortController()
    const completed = rejected(torrent.completed(waiting))
    const read = rejected(Array.fromAsync(torrent.read(0, waiting)))
    const statuses = rejected(Array.fromAsync(torrent.statuses(1, waiting)))
    waiting.abort(reason)

    assert.strictEqual(await completed, reason)
    assert.strictEqual(await read, reason)
    assert.strictEqual(await statuses, reason)
    assert.strictEqual(await rejected(torrent.completed(waiting)), reason)
    assert.notStrictEqual((await torrent.status()).state._tag, "Stopped")
  })

  it("ends what waits for a torrent that is stopped, and forgets it", async () => {
    const torrent = await engine.add(known.bytes)
    assert.strictEqual(engine.get(torrent.infoHash.toUpperCase()), torrent)
    const completed = rejected(torrent.completed())
    const read = rejected(Array.fromAsync(torrent.read(0)))
    await torrent.stop()

    assert.strictEqual(tagOf(await completed), "piecewise/TorrentStopped")
    assert.strictEqual(tagOf(await read), "piecewise/TorrentStopped")
    assert.deepStrictEqual(engine.torrents(), [])
    assert.strictEqual((await torrent.status()).state._tag, "Stopped")
    // It can be added again.
    await engine.add(known.bytes)
  })

  it("removes a torrent with its files", () =>
    withPeer(async (address) => {
      const torrent = await engine.add(known.bytes, { peers: [address] })
      await torrent.completed()

      const { keptPaths } = await torrent.remove({ data: true })

      assert.deepStrictEqual(keptPaths, [])
      assert.deepStrictEqual(engine.torrents(), [])
      assert.strictEqual(await readFile(path.join(directory, "promised")).catch(({ code }) => code), "ENOENT")
    }))

  it.each(["close", "stop", "remove"] as const)(
    "closes what its torrents run on only after they have ended, when it is closed after %s",
    async (first) => {
      const order: Array<string> = []
      const slow = Effect.map(Storage, (storage) =>
        Storage.of({
          open: (options) =>
            Effect.tap(storage.open(options), () =>
              Effect.addFinalizer(() => Effect.andThen(Effect.sleep("50 millis"), note("the torrent has ended")))
            )
        })
      )
      const note = (what: string) => Effect.sync(() => void order.push(what))
      const closing = Layer.effectDiscard(Effect.addFinalizer(() => note("the layer is closed")))
      const layer = Engine.layer().pipe(
        Layer.provide(Layer.effect(Storage, slow)),
        Layer.provide(closing),
        Layer.provide(NodeEngine.layerServices({ directory, from: "127.0.0.1" }))
      )
      const other = await fromLayer(layer)
      const torrent = await other.add(known.bytes)
      const completed = rejected(torrent.completed())
      while ((await torrent.status()).state._tag === "Checking") await new Promise((resolve) => setTimeout(resolve, 1))

      const begun = { close: other.close, stop: torrent.stop, remove: () => torrent.remove({ data: true }) }[first]()
      await other.close()
      order.push("close has returned")
      await begun

      assert.strictEqual(tagOf(await completed), "piecewise/TorrentStopped")
      assert.deepStrictEqual(order, ["the torrent has ended", "the layer is closed", "close has returned"])
    }
  )

  it("forgets a torrent that was ended as an effect, and not one that was added again", async () => {
    const torrent = await engine.add(known.bytes)
    await Effect.runPromise(torrent.effectful.remove({ data: false }))
    assert.deepStrictEqual(engine.torrents(), [])
    const again = await engine.add(known.bytes)
    await torrent.stop()

    assert.strictEqual(engine.get(again.infoHash), again)
  })

  it("reports events of all torrents until a loop is left", async () => {
    const seen: Array<string> = []
    await engine.add(known.bytes)
    for await (const event of engine.events()) {
      seen.push(event.event._tag)
      if (event.event._tag === "Added") break
    }
    assert.deepStrictEqual(seen, ["Added"])
    assert.strictEqual((await engine.status()).torrents, 1)
  })
})
