import * as NFS from "node:fs"
import { assert, describe, it } from "@effect/vitest"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as PieceThread from "../../src/hash/provider/node/PieceThread.ts"
import * as SideThread from "../../src/hash/provider/node/SideThread.ts"
import * as ThreadedPieceHasher from "../../src/hash/provider/node/ThreadedPieceHasher.ts"
import { longestInRow, longestWrite } from "../../src/storage/provider/node/NodeFile.ts"
import type { TorrentStorage } from "../../src/storage/Storage.ts"
import { piece, until, watch } from "../hash/threads.ts"
import * as FakeDisk from "./disk.ts"
import { Disk, listFiles } from "./disk.ts"
import { contentOf, layoutOf, pieceOf, sliceOf } from "./layouts.ts"
import { openToWrite } from "./openings.ts"

/** One piece over two files, of which one is long. */
const layout = layoutOf(longestWrite * 3 + longestInRow, ["t/long", longestWrite * 3], ["t/short", longestInRow])
const content = contentOf(layout)

/** Stores the piece, and returns how many calls wrote it. */
const stored = Effect.gen(function* () {
  const { calls, root } = yield* Disk
  const torrent = yield* openToWrite(layout)
  yield* torrent.writePiece(pieceOf(layout, 0), sliceOf(layout, content, pieceOf(layout, 0)))
  const files = listFiles(root)
  assert.deepStrictEqual(
    [files.get("t/long"), files.get("t/short")],
    [content.slice(0, longestWrite * 3), content.slice(longestWrite * 3)]
  )
  return calls.count("write")
})

/** The same on a disk beside a thread. */
const beside = (write: PieceThread.PieceThread["write"]) =>
  stored.pipe(
    Effect.provide(FakeDisk.layer()),
    Effect.provideService(PieceThread.PieceThread, { digest: () => Effect.undefined, write })
  )

describe("FileSystemStorage beside the thread of a hasher", () => {
  it.live("writes there what is long", () =>
    Effect.gen(function* () {
      const lengths: Array<number> = []
      const devices: Array<boolean> = []

      const writes = yield* beside(([fd, bytes, position, step], device, done) => {
        lengths.push(bytes.length, step)
        devices.push(device === `${NFS.fstatSync(fd).dev}`)
        FakeDisk.makeCalls().fs.write(fd, bytes, 0, bytes.length, position, done)
        return true
      })

      assert.deepStrictEqual(lengths, [longestWrite * 3, longestInRow])
      assert.deepStrictEqual(devices, [true])
      assert.strictEqual(writes, 1)
    })
  )

  it.live("writes itself what the thread has no time for", () =>
    Effect.gen(function* () {
      const writes = yield* beside(() => false)

      assert.strictEqual(writes, 4)
    })
  )

  it.live("writes itself what the thread left over", () =>
    Effect.gen(function* () {
      const writes = yield* beside(([fd, bytes, position], _, done) => {
        FakeDisk.makeCalls().fs.write(fd, bytes, 0, longestWrite + 1, position, done)
        return true
      })

      assert.strictEqual(writes, 3)
    })
  )

  it.live("writes itself what a thread left over that has ended", () =>
    Effect.gen(function* () {
      const length = 1 << 20
      const layout = layoutOf(length, ["t/a", 2 * length], ["t/b", 2 * length])
      const content = contentOf(layout)
      const { made, threads } = yield* watch(PieceThread.make)
      yield* made.digest("sha1", piece(length))
      yield* until(() => threads[0]!.isReady)
      const store = Effect.fnUntraced(function* (torrent: TorrentStorage, index: number) {
        const bytes = piece(length)
        bytes.set(sliceOf(layout, content, pieceOf(layout, index)))
        yield* torrent.writePiece(pieceOf(layout, index), bytes)
        bytes.fill(0)
      })

      const { files, given } = yield* Effect.gen(function* () {
        const torrent = yield* openToWrite(layout)
        const storing = yield* Effect.forkChild(
          Effect.forEach([0, 1, 2, 3], (index) => store(torrent, index), { concurrency: "unbounded" }),
          { startImmediately: true }
        )
        const given = threads[0]!.writes
        yield* SideThread.stop(threads[0]!)
        yield* Fiber.join(storing)
        return { files: listFiles((yield* Disk).root), given }
      }).pipe(Effect.provide(FakeDisk.layer()), Effect.provideService(PieceThread.PieceThread, made))

      assert.isAbove(given, 0)
      assert.deepStrictEqual(
        [files.get("t/a"), files.get("t/b")],
        [content.slice(0, 2 * length), content.slice(2 * length)]
      )
    })
  )

  it.live("fails if the thread cannot write", () =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(
        beside((_task, _device, done) => {
          setImmediate(done, { code: "ENOSPC", message: "no space left on device" }, 0)
          return true
        })
      )

      assert.strictEqual(error.reason._tag, "DiskFull")
    })
  )

  it.live("knows the thread of the hasher that programs use", () =>
    Effect.gen(function* () {
      const thread = yield* PieceThread.PieceThread

      assert.isDefined(thread)
    }).pipe(Effect.provide(ThreadedPieceHasher.layerConfig(Config.succeed(true))))
  )
})
