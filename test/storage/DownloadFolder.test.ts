/** Links that are followed because the user said so: for reads only. */
import * as NFS from "node:fs"
import * as Path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as NodePieceHasher from "../../src/hash/provider/node/NodePieceHasher.ts"
import * as DownloadFolder from "../../src/storage/provider/node/DownloadFolder.ts"
import * as FileSystemStorage from "../../src/storage/provider/node/FileSystemStorage.ts"
import { nodeFileSystem } from "../../src/storage/provider/node/NodeFile.ts"
import type { FileFacts } from "../../src/storage/Storage.ts"
import { temporaryFolder } from "./disk.ts"
import { layoutOf, pieceOf } from "./layouts.ts"
import { claim, infoHashOf } from "./openings.ts"

/** A download folder with a link to a file and a link to a folder, both outside of it. */
const linked = Effect.map(temporaryFolder, (top) => {
  const root = Path.join(top, "root")
  const outside = Path.join(top, "outside")
  NFS.mkdirSync(Path.join(root, "t"), { recursive: true })
  NFS.mkdirSync(outside)
  NFS.writeFileSync(Path.join(outside, "blob"), "blob")
  NFS.symlinkSync(Path.join(outside, "blob"), Path.join(root, "t/file"))
  NFS.symlinkSync(outside, Path.join(root, "t/folder"))
  return { root, outside }
})

const layout = layoutOf(4, ["t/file", 4], ["t/folder/blob", 4], ["t/folder/new", 4])

describe("DownloadFolder with followed links", () => {
  it.live("reads what they lead to, and writes nothing there", () =>
    Effect.gen(function* () {
      const { outside, root } = yield* linked
      const storage = yield* FileSystemStorage.make({ directory: root, followLinks: true })
      const torrent = yield* storage.open({ infoHash: infoHashOf(layout), layout })
      const write = (file: number) =>
        Effect.map(Effect.flip(claim(torrent, layout, "overwritten", [file])), ({ reason }) => reason._tag)
      const read = (piece: number) =>
        Effect.map(torrent.readBlock(pieceOf(layout, piece), 0, 4), ({ bytes, files }) => {
          found.push(...files)
          return bytes
        })
      const found: Array<FileFacts> = []

      for (const round of ["before", "after"]) {
        assert.deepStrictEqual(yield* read(0), new TextEncoder().encode("blob"), round)
        assert.deepStrictEqual(yield* read(1), new TextEncoder().encode("blob"), round)
        assert.deepStrictEqual(
          yield* Effect.forEach([0, 1, 2], write),
          ["StorageRefused", "StorageRefused", "StorageRefused"],
          round
        )
      }

      const [blob] = yield* torrent.look([0])
      assert.deepStrictEqual(
        found.map(({ identity, kind }) => [identity, kind]),
        Array(4).fill([blob!.identity, "file"])
      )
      assert.deepStrictEqual(NFS.readdirSync(outside), ["blob"])
      assert.strictEqual(NFS.readFileSync(Path.join(outside, "blob"), "utf8"), "blob")
    }).pipe(Effect.provide(NodePieceHasher.layer))
  )

  it.live("a link that leads in a circle is an error and does not wait", () =>
    Effect.gen(function* () {
      const { root } = yield* linked
      NFS.symlinkSync("b", Path.join(root, "t/a"))
      NFS.symlinkSync("a", Path.join(root, "t/b"))
      const folder = DownloadFolder.make(nodeFileSystem, root, { followLinks: true })

      const { reason } = yield* Effect.flip(DownloadFolder.resolve(folder, ["t", "a"], "read"))

      assert.strictEqual(reason.message, `${Path.join(root, "t/a")}: a symbolic link is in the way of a file`)
    })
  )
})
