/** What is done with files while something else happens to them. */
import * as ChildProcess from "node:child_process"
import * as NFS from "node:fs"
import * as Path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import type { Storage, TorrentStorage } from "../../src/storage/Storage.ts"
import * as FakeDisk from "./disk.ts"
import { Disk } from "./disk.ts"
import { contentOf, layoutOf, pieceOf, sliceOf } from "./layouts.ts"
import { openToWrite } from "./openings.ts"

const layout = layoutOf(8, ["t/a", 16], ["t/u/b", 8])

const test = (
  title: string,
  effect: Effect.Effect<void, unknown, Storage | Disk | Scope.Scope>,
  options: { readonly maxOpenFiles?: number } = {}
) => it.live(title, () => Effect.provide(effect, FakeDisk.layer(options)))

const write = (torrent: TorrentStorage, index: number) =>
  torrent.writePiece(pieceOf(layout, index), sliceOf(layout, contentOf(layout), pieceOf(layout, index)))

/** Holds back the first call of an operation. Returns how to wait for it, and how to let it go. */
const holdFirst = Effect.fnUntraced(function* (operation: FakeDisk.Operation) {
  const { calls } = yield* Disk
  // A disk of this machine.
  calls.fileSystem = 0xef53n
  let release: (() => void) | undefined
  calls.hold = (called, go) => {
    if (called !== operation || release !== undefined) return false
    release = go
    return true
  }
  const begun = Effect.callback<void>((resume) => {
    const look = () => void (release === undefined ? setImmediate(look) : resume(Effect.void))
    look()
  })
  return { begun, release: Effect.sync(() => release!()) }
})

const turns = (count: number) =>
  Effect.forEach(
    Array.from({ length: count }),
    () => Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void))),
    { discard: true }
  )

describe("a file that is moved", () => {
  for (const [what, use] of [
    ["read", (torrent: TorrentStorage) => torrent.readBlock(pieceOf(layout, 0), 0, 8)],
    ["looked at", (torrent: TorrentStorage) => torrent.look([0])],
    ["flushed", (torrent: TorrentStorage) => torrent.flush([0])]
  ] as const) {
    test(
      `does not count as deleted if it is ${what} meanwhile`,
      Effect.gen(function* () {
        const torrent = yield* openToWrite(layout)
        yield* write(torrent, 0)
        const { begun, release } = yield* holdFirst("unlink")

        const moving = yield* Effect.forkChild(torrent.rename(0, ["t", "z"]), { startImmediately: true })
        yield* begun
        const using = yield* Effect.forkChild(use(torrent), { startImmediately: true })
        yield* turns(20)
        yield* release
        yield* Fiber.join(moving)
        const [found] = yield* Effect.andThen(Fiber.join(using), torrent.look([0]))
        yield* write(torrent, 1)

        assert.strictEqual(found?.length, 8)
      })
    )
  }
})

describe("a write", () => {
  test(
    "can be interrupted while it waits for another one to the same file",
    Effect.gen(function* () {
      const torrent = yield* openToWrite(layout)
      const { begun, release } = yield* holdFirst("write")

      const first = yield* Effect.forkChild(write(torrent, 0), { startImmediately: true })
      yield* begun
      const second = yield* Effect.forkChild(write(torrent, 1), { startImmediately: true })
      yield* turns(5)
      yield* Fiber.interrupt(second)
      const isFirstOver = first.pollUnsafe() !== undefined
      yield* release
      yield* Fiber.join(first)

      assert.isFalse(isFirstOver)
    })
  )
})

describe("a flush", () => {
  test(
    "fails for a file that could not be closed, although it was opened and written again since",
    Effect.gen(function* () {
      const { calls } = yield* Disk
      const torrent = yield* openToWrite(layout)
      yield* write(torrent, 0)
      // The only open file is closed to open another one. A network disk reports a deferred error then.
      calls.failWhen = (operation) => (operation === "close" ? "EIO" : undefined)
      yield* write(torrent, 2)
      calls.failWhen = () => undefined
      yield* write(torrent, 1)

      const outcomes = yield* torrent.flush([0])

      assert.deepStrictEqual(
        outcomes.map((outcome) => "facts" in outcome),
        [false]
      )
    }),
    { maxOpenFiles: 1 }
  )

  test(
    "does not wait for a FIFO in the place of a folder",
    Effect.gen(function* () {
      const { calls, root } = yield* Disk
      calls.fileSystem = 0xef53n
      const torrent = yield* openToWrite(layout)
      for (const index of [0, 1, 2]) yield* write(torrent, index)
      NFS.renameSync(Path.join(root, "t/u"), Path.join(root, "elsewhere"))
      ChildProcess.execFileSync("mkfifo", [Path.join(root, "t/u")])

      const outcomes = yield* torrent.flush([0, 1])

      assert.deepStrictEqual(
        outcomes.map((outcome) => "facts" in outcome || outcome.reason._tag),
        [true, "FileChanged"]
      )
    })
  )
})
