/** Files that are claimed for several pieces at once, on a disk. */
import * as Crypto from "node:crypto"
import * as NFS from "node:fs"
import * as Path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import * as Layer from "effect/Layer"
import * as BufferBudget from "../../src/assembly/BufferBudget.ts"
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import type { FileLayout } from "../../src/metainfo/FileLayout.ts"
import * as ResumeKeeper from "../../src/torrent/ResumeKeeper.ts"
import * as TorrentFiles from "../../src/torrent/TorrentFiles.ts"
import { drawn } from "../resume/ResumeStore.suite.ts"
import * as FakeDisk from "../storage/disk.ts"
import { Disk } from "../storage/disk.ts"
import { contentOf, layoutOf, pieceOf, sliceOf } from "../storage/layouts.ts"
import { open } from "../storage/openings.ts"

/** The files of a torrent on the disk, of which the first one counts as its own, and how to write a piece. */
const openFirst = Effect.fnUntraced(function* (layout: FileLayout, first: Uint8Array, stored: string) {
  const { root } = yield* Disk
  const content = contentOf(layout)
  const digestOf = (piece: PieceIndex) => Crypto.hash("sha1", sliceOf(layout, content, piece), "buffer")
  const { fileCount } = layout
  const none = ".".repeat(layout.geometry.pieceCount)
  const path = Path.join(root, "t/a")
  NFS.mkdirSync(Path.join(root, "t"), { recursive: true })
  NFS.writeFileSync(path, first)
  NFS.linkSync(path, Path.join(root, "other-name"))
  const storage = yield* open(layout)
  const files = Array.from({ length: fileCount }, (_, file) => file)
  const log: Array<string> = []
  const torrent = yield* TorrentFiles.make({
    layout,
    storage,
    budget: BufferBudget.make(1 << 20),
    resume: ResumeKeeper.noResume,
    facts: yield* storage.look(files),
    standings: new Map([[0, "own"]]),
    records: undefined,
    found: {
      stored: drawn(stored),
      doubtful: drawn(none),
      flushed: drawn(stored),
      present: drawn(stored),
      zeros: drawn(none)
    },
    stored: drawn(stored),
    digestOf,
    wanted: { files, pieces: drawn(none.replaceAll(".", "*")) },
    overwrites: false,
    isReadOnly: false,
    drop: () => {},
    onKept: () => {},
    onResumeFailure: () => {},
    report: ({ _tag }) => log.push(_tag)
  })
  const write = (index: number) => {
    const piece = pieceOf(layout, index)
    return Effect.suspend(() => torrent.writer.writePiece(piece, sliceOf(layout, content, piece), digestOf(piece)))
  }
  /** Writes pieces at the same time, each until it is stored or its torrent ends. */
  const writeAll = (...pieces: ReadonlyArray<number>) =>
    Effect.forEach(
      pieces,
      (index) => Effect.forkScoped(Effect.eventually(Effect.interruptible(write(index))), { startImmediately: true }),
      {}
    )
  return { path, log, write, writeAll }
})

const until = (isTrue: () => boolean) =>
  Effect.whileLoop({
    while: () => !isTrue(),
    body: () => Effect.callback<void>((resume) => void setImmediate(() => resume(Effect.void))),
    step: () => {}
  })

const services = Layer.merge(FakeDisk.layer(), NodePieceHasher.layer)

describe("files that are claimed for several pieces", () => {
  for (const code of ["ENOSPC", "EACCES"]) {
    it.live(`a file of ours with another name is not taken for somebody else's if another one fails with ${code}`, () =>
      Effect.gen(function* () {
        const layout = layoutOf(8, ["t/a", 16], ["t/b", 8], ["t/c", 8])
        const { calls } = yield* Disk
        const { log, writeAll } = yield* openFirst(layout, contentOf(layout).slice(0, 8), "*...")
        let failures = 2
        calls.failWhen = (operation, args) =>
          operation === "open" && String(args[0]).endsWith("t/b") && failures-- > 0 ? code : undefined

        yield* Effect.flatMap(writeAll(3, 1, 2), Fiber.joinAll)

        assert.deepStrictEqual(log, [])
      }).pipe(Effect.scoped, Effect.provide(services))
    )
  }

  // The first file is empty at first, and so counts as the torrent's own.
  for (const order of [[4, 5, 0], [0], [4, 5, 2], [2]]) {
    it.live(`nothing is written to a file that somebody filled: pieces ${order.join(", ")}`, () =>
      Effect.gen(function* () {
        const layout = layoutOf(8, ["t/a", 32], ["t/b", 8], ["t/c", 8])
        const theirs = new Uint8Array(8).fill(0xee)
        const { log, path, writeAll } = yield* openFirst(layout, new Uint8Array(), "......")
        NFS.writeFileSync(path, theirs)

        yield* writeAll(...order)
        yield* until(() => log.includes("Foreign"))
        yield* writeAll(2)
        let turns = 20
        yield* until(() => turns-- === 0)

        assert.deepStrictEqual(new Uint8Array(NFS.readFileSync(path)), theirs)
      }).pipe(Effect.scoped, Effect.provide(services))
    )
  }
})
