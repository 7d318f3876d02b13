/** Whole downloads into the real daemon, over sockets of this machine. */
import * as ChildProcess from "node:child_process"
import * as NFS from "node:fs"
import * as OS from "node:os"
import * as Path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Schedule from "effect/Schedule"
import * as Stream from "effect/Stream"
import * as PeerSources from "../../src/discovery/PeerSources.ts"
import * as Engine from "../../src/engine/Engine.ts"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import * as IoDaemonProcess from "../../src/io-daemon/node/IoDaemonProcess.ts"
import * as TcpTransport from "../../src/network/provider/node/TcpTransport.ts"
import * as NodeIoDaemon from "../../src/node/NodeIoDaemon.ts"
import * as MemoryResumeStore from "../../src/resume/provider/MemoryResumeStore.ts"
import * as KnownTorrent from "../../src/testing/KnownTorrent.ts"
import type { PeerBehaviour } from "../../src/testing/PeerBehaviour.ts"
import * as ScriptedPeer from "../../src/testing/ScriptedPeer.ts"
import type { TorrentEvent } from "../../src/torrent/TorrentEvent.ts"
import { temporaryFolder } from "../storage/disk.ts"
import * as Daemon from "./daemon.ts"

const root = "downloads"

/** An engine that stores through the daemon of the context. */
const engine = Engine.layer().pipe(
  Layer.provide([
    NodeIoDaemon.layerStorage({ root }),
    MemoryResumeStore.layer,
    TcpTransport.layerDialer,
    PeerSources.none
  ]),
  Layer.provide(NodePieceHasher.layer)
)

const seed = Effect.fnUntraced(function* (known: KnownTorrent.KnownTorrent, behaviour: PeerBehaviour = {}) {
  const { infoHash, layout } = known.metainfo
  return yield* ScriptedPeer.serve({ infoHash, geometry: layout.geometry, content: known.content, behaviour })
}, Effect.provide(TcpTransport.layerListener))

/** Starts the download of a torrent from one peer, and gathers its events. */
const start = Effect.fnUntraced(function* (known: KnownTorrent.KnownTorrent, behaviour?: PeerBehaviour) {
  const peer = yield* seed(known, behaviour)
  const torrent = yield* (yield* Engine.Engine).add(known.metainfo, { peers: [peer.address] })
  const events: Array<TorrentEvent> = []
  yield* Effect.forkScoped(Stream.runForEach(torrent.events, (event) => Effect.sync(() => void events.push(event))))
  const told = (tag: TorrentEvent["_tag"]) => events.filter(({ _tag }) => _tag === tag)
  return { peer, torrent, events, told }
})

const assertStored = (known: KnownTorrent.KnownTorrent, folder: string) => {
  for (const [index, file] of known.metainfo.layout.files.entries()) {
    const bytes = NFS.readFileSync(Path.join(folder, ...file.path))
    assert.isTrue(bytes.equals(known.fileContent(index)), file.path.join("/"))
  }
}

const blocksOf = ({ metainfo }: KnownTorrent.KnownTorrent) => {
  const { pieceCount, pieceLength } = metainfo.layout.geometry
  return (pieceCount * pieceLength) / 16_384
}

const { CI } = process.env

/** Mounting a small disk needs root on Linux; CI has it. */
const canMount = CI === "true" || (process.platform === "linux" && process.getuid?.() === 0)

/** A disk of so many megabytes in memory, until the scope closes. */
const smallDisk = (megabytes: number) =>
  Effect.acquireRelease(
    Effect.sync(() => {
      const folder = NFS.mkdtempSync(Path.join(OS.tmpdir(), "piecewise-disk-"))
      ChildProcess.execFileSync("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m`, "tmpfs", folder])
      return folder
    }),
    (folder) =>
      Effect.sync(() => {
        ChildProcess.execFileSync("umount", ["-l", folder])
        NFS.rmdirSync(folder)
      })
  )

const enlarge = (folder: string, megabytes: number): void => {
  ChildProcess.execFileSync("mount", ["-o", `remount,size=${megabytes}m`, folder])
}

/** Turns of real time until something holds. */
const until = (holds: () => boolean) =>
  Effect.suspend(() => (holds() ? Effect.void : Effect.fail("not yet"))).pipe(
    Effect.retry(Schedule.spaced("10 millis")),
    Effect.orDie
  )

Daemon.live("downloads through the daemon", () => {
  describe("a download through the io-daemon", () => {
    it.live("makes exactly one request for each of 1,000 pieces over 2,000 files", () =>
      Effect.gen(function* () {
        const known = yield* KnownTorrent.make({
          files: Array.from({ length: 2_000 }, (_, index) => ({ path: [`${index % 40}`, `${index}`], length: 8_192 })),
          pieceLength: 16_384
        })
        const folder = yield* temporaryFolder

        const { stats } = yield* Effect.gen(function* () {
          const { torrent } = yield* start(known)
          yield* torrent.completed
          return { stats: yield* Daemon.stats }
        }).pipe(Effect.provide(engine), Effect.scoped, Effect.provide(Daemon.layer({ [root]: folder })))

        assertStored(known, folder)
        const each = stats.writeRequests / known.metainfo.layout.geometry.pieceCount
        console.log(`requests per piece: ${each.toFixed(1)} (${stats.writeRequests} for 1000 pieces over 2000 files)`)
        assert.deepStrictEqual([stats.writes, stats.writeRequests], [1_000, 1_000])
        assert.strictEqual(stats.writtenBytes, 16_384_000)
      }).pipe(Effect.provide(NodePieceHasher.layer))
    )

    it.live("removes a torrent with its files during a write, and leaves those of others", () =>
      Effect.gen(function* () {
        const known = yield* KnownTorrent.make({
          files: Array.from({ length: 20 }, (_, index) => ({ path: [`${index % 3}`, `${index}`], length: 500_000 })),
          pieceLength: 65_536
        })
        const folder = yield* temporaryFolder
        const inside = Path.join(folder, "known", "0")
        NFS.mkdirSync(inside, { recursive: true })
        NFS.writeFileSync(Path.join(inside, "notes.txt"), "mine")

        const { removed, status } = yield* Effect.gen(function* () {
          const { told, torrent } = yield* start(known)
          yield* until(() => told("PieceStored").length > 20)
          const removed = yield* torrent.remove({ data: true })
          const status = yield* torrent.status
          // Its info hash may be used again, and what is stored again is right.
          const again = yield* start(known)
          yield* again.torrent.completed
          assertStored(known, folder)
          yield* again.torrent.remove({ data: true })
          return { removed, status }
        }).pipe(Effect.provide(engine), Effect.scoped, Effect.provide(Daemon.layer({ [root]: folder })))

        assert.deepStrictEqual(removed, { keptPaths: [], isRemembered: false })
        assert.strictEqual(status.state._tag, "Stopped")
        const left = NFS.readdirSync(Path.join(folder, "known"), { recursive: true, withFileTypes: true })
        assert.deepStrictEqual(
          left.filter((entry) => entry.isFile()).map(({ name }) => name),
          ["notes.txt"]
        )
        assert.strictEqual(NFS.readFileSync(Path.join(inside, "notes.txt"), "utf8"), "mine")
      }).pipe(Effect.provide(NodePieceHasher.layer))
    )

    it.live("fault 43: a wrong piece is sent to the daemon and no further, and its sender is banned", () =>
      Effect.gen(function* () {
        const known = yield* KnownTorrent.make({ files: [{ path: [], length: 4_000_000 }], pieceLength: 262_144 })
        const folder = yield* temporaryFolder

        yield* Effect.gen(function* () {
          const { told, torrent } = yield* start(known, { corrupts: "last block" })
          yield* until(() => told("PieceDamaged").length > 0)
          const written = NFS.readFileSync(Path.join(folder, "known")).some((byte) => byte !== 0)
          const honest = yield* seed(known, { seed: 2 })
          yield* torrent.addPeers([honest.address])
          yield* torrent.completed
          yield* until(() => told("PeerBanned").length > 0)

          assert.isFalse(written)
          assert.isAtLeast(told("PieceRejected").length, 1)
          assert.strictEqual((yield* Daemon.stats).writes, known.metainfo.layout.geometry.pieceCount)
        }).pipe(Effect.provide(engine), Effect.scoped, Effect.provide(Daemon.layer({ [root]: folder })))

        assertStored(known, folder)
      }).pipe(Effect.provide(NodePieceHasher.layer))
    )

    it.live("fault 53: completes while the daemon is killed every 200 ms, and requests nothing twice from peers", () =>
      Effect.gen(function* () {
        const known = yield* KnownTorrent.make({
          files: [
            { path: ["a"], length: 20_000_000 },
            { path: ["b"], length: 21_943_040 }
          ],
          pieceLength: 262_144
        })
        const folder = yield* temporaryFolder
        const daemon = Daemon.mortal(folder)

        const counters = yield* Effect.gen(function* () {
          // 10 MiB/s: some 4 seconds, with as many daemons as that takes.
          const { peer, torrent } = yield* start(known, { bytesPerSecond: 10 * 1024 * 1024 })
          yield* Effect.forkScoped(Effect.repeat(Effect.sync(daemon.kill), Schedule.spaced("200 millis")))
          yield* torrent.completed
          return peer.counters
        }).pipe(
          Effect.provide(engine),
          Effect.scoped,
          Effect.provide(IoDaemonProcess.layer({ program: daemon.program, roots: { [root]: Path.join(folder, root) } }))
        )

        assertStored(known, Path.join(folder, root))
        console.log(`the daemon was killed ${daemon.pids().length - 1} times`)
        assert.isAtLeast(daemon.pids().length, 10)
        assert.strictEqual(counters.requests, blocksOf(known))
      }).pipe(Effect.provide(NodePieceHasher.layer))
    )

    it.live.skipIf(!canMount)(
      "fault 48: a full disk pauses the torrent, which continues by itself when there is room",
      () =>
        Effect.gen(function* () {
          const known = yield* KnownTorrent.make({
            files: [{ path: ["a"], length: 24_000_000 }],
            pieceLength: 1_048_576
          })
          const folder = yield* smallDisk(20)
          const ballast = Path.join(folder, "ballast")
          NFS.writeFileSync(ballast, Buffer.alloc(6_000_000))

          yield* Effect.gen(function* () {
            const { peer, told, torrent } = yield* start(known)
            yield* until(() => told("StorageFailed").length > 0)
            const failed = told("StorageFailed")[0]!
            assert.strictEqual(
              failed._tag === "StorageFailed" && failed.error.message,
              "the disk is full: downloads/known/a cannot grow"
            )
            const status = yield* torrent.status
            assert.strictEqual(status.state._tag, "StorageFailing")
            assert.isAtLeast(status.bufferedBytes, 1_048_576)
            assert.isBelow(status.storedPieces, 15)

            // What is stored is right, although the disk has no room for the rest.
            const half = NFS.readFileSync(Path.join(folder, "known", "a"))
            const content = known.fileContent(0)
            const pieces = new Set(told("PieceStored").map((event) => event._tag === "PieceStored" && event.piece))
            for (const piece of pieces) {
              const begin = Number(piece) * 1_048_576
              const end = Math.min(begin + 1_048_576, content.length)
              assert.isTrue(half.subarray(begin, end).equals(content.subarray(begin, end)), `piece ${piece}`)
            }
            NFS.rmSync(ballast)
            enlarge(folder, 40)
            yield* torrent.completed

            assert.strictEqual(told("StorageRecovered").length, 1)
            // Nothing that was verified was thrown away.
            assert.strictEqual(peer.counters.requests, Math.ceil(24_000_000 / 16_384))
          }).pipe(Effect.provide(engine), Effect.scoped, Effect.provide(Daemon.layer({ [root]: folder })))

          assertStored(known, folder)
        }).pipe(Effect.provide(NodePieceHasher.layer), Effect.scoped)
    )
  })
})
