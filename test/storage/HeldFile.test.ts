import * as NFS from "node:fs"
import * as Path from "node:path"
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as DownloadFolder from "../../src/storage/provider/node/DownloadFolder.ts"
import * as HeldFile from "../../src/storage/provider/node/HeldFile.ts"
import * as NodeFile from "../../src/storage/provider/node/NodeFile.ts"
import { temporaryFolder } from "./disk.ts"

/** A file of ten bytes that is held from its first byte to its last. */
const holding = Effect.map(temporaryFolder, (root) => {
  const fs = NodeFile.nodeFileSystem
  const path = Path.join(root, "a")
  NFS.writeFileSync(path, "0123456789")
  const held = HeldFile.make({ fs, folder: DownloadFolder.make(fs, root), nameOf: () => "a" })
  const identity = NodeFile.identityOf(NFS.statSync(path, { bigint: true }))
  const file = { path, identity, isLocal: true, follows: false }
  HeldFile.hold(held, file, 10)
  return { file, held, path }
})

describe("HeldFile", () => {
  it.effect.each([
    ["deleted", (path: string) => NFS.rmSync(path), HeldFile.deleted],
    ["cut off", (path: string) => NFS.truncateSync(path, 9), HeldFile.cutOff],
    [
      "replaced",
      (path: string) => {
        NFS.writeFileSync(`${path}.new`, "0123456789")
        NFS.renameSync(`${path}.new`, path)
      },
      HeldFile.replaced
    ]
  ] as const)("notices that it was %s, and stays changed until it is held again", ([, harm, why]) =>
    Effect.gen(function* () {
      const { file, held, path } = yield* holding
      yield* HeldFile.look(held, file, false)
      harm(path)

      const reason = yield* Effect.flip(HeldFile.look(held, file, false))
      const later = HeldFile.change(held, HeldFile.changedSince)

      assert.deepStrictEqual([reason._tag, later.why], ["FileChanged", why])
      assert.isFalse(HeldFile.isIntact(held))
      HeldFile.hold(held, file, 0)
      assert.isTrue(HeldFile.isIntact(held))
    })
  )

  it.effect("needs a look after so many written bytes, and none after that look", () =>
    Effect.gen(function* () {
      const { file, held, path } = yield* holding
      NFS.truncateSync(path, HeldFile.checkInterval)

      HeldFile.noteWritten(held, 0, HeldFile.checkInterval - 1)
      assert.isFalse(HeldFile.needsLook(held))
      HeldFile.noteWritten(held, HeldFile.checkInterval - 1, 1)
      assert.isTrue(HeldFile.needsLook(held))
      yield* HeldFile.look(held, file, false)

      assert.isFalse(HeldFile.needsLook(held))
    })
  )

  it.effect("keeps nothing of a changed file once it is released", () =>
    Effect.gen(function* () {
      const { file, held } = yield* holding

      assert.isFalse(HeldFile.release(held))
      assert.deepStrictEqual([held.file, held.isClaimed], [file, false])
      HeldFile.change(held, HeldFile.deleted)
      assert.isTrue(HeldFile.release(held))
      assert.deepStrictEqual([held.file, held.changed], [undefined, undefined])
    })
  )
})
