/**
 * Claims of one file of a torrent: makes the file, or takes the one that is there if it is the one that the claim
 * means.
 *
 * Nothing else makes a file or opens one for its first write. A file with other names, or one whose blocks are not
 * trusted, gets a copy of its own first (`OwnCopy.ts`).
 */
import type * as NFS from "node:fs"
import * as Path from "node:path"
import * as Effect from "effect/Effect"
import { FileChanged, type FileClaim, FileExists, type FileFacts, StorageUnavailable } from "../../Storage.ts"
import * as DownloadFolder from "./DownloadFolder.ts"
import * as FileHandles from "./FileHandles.ts"
import * as FileSystemError from "./FileSystemError.ts"
import * as HeldFile from "./HeldFile.ts"
import * as NamedFile from "./NamedFile.ts"
import * as NodeFile from "./NodeFile.ts"
import * as OwnCopy from "./OwnCopy.ts"

/** A file that is open for writing, as its claim says. */
export interface ClaimedFile extends NamedFile.OpenedFile {
  readonly stats: NFS.BigIntStats
}

/** How a claim is carried out. */
export interface Options {
  /** Bytes the torrent has in this file. */
  readonly length: number
  /** Removes copies of the file with this true path that a crash has left. */
  readonly clean: (path: string) => Effect.Effect<void> | undefined
  /** Called when a copy has taken the place of the file. */
  readonly onCopied: () => void
  /** Called when the file was cut to the torrent's length. */
  readonly onCut: () => void
}

const fileChanged = (named: NamedFile.NamedFile, why: string) => new FileChanged({ path: NamedFile.nameOf(named), why })

/** What differs between a file and the facts it is claimed by, as the end of a sentence. */
const difference = (facts: FileFacts, stats: NFS.BigIntStats): string | undefined => {
  if (!HeldFile.isSame(stats, facts.identity)) return HeldFile.replaced
  if (stats.size < facts.length) return HeldFile.cutOff
  return stats.size !== BigInt(facts.length) || stats.mtimeNs !== facts.mtimeNs ? HeldFile.changedSince : undefined
}

const openFound = (named: NamedFile.NamedFile, facts: FileFacts) =>
  Effect.catchIf(
    NamedFile.openForWriting(named, "read"),
    ({ missing, reason }) => missing || (reason._tag === "StorageRefused" && facts.kind === "file"),
    ({ missing, reason }) =>
      Effect.mapError(
        Effect.flatMap(DownloadFolder.present(named.medium.folder), () =>
          // What cannot be opened is another thing by now, or the same one that may not be written.
          Effect.flatMap(NamedFile.look(named), (stats) =>
            Effect.fail(
              missing || stats === undefined
                ? fileChanged(named, HeldFile.deleted)
                : HeldFile.isSame(stats, facts.identity)
                  ? reason
                  : fileChanged(named, HeldFile.replaced)
            )
          )
        ),
        FileHandles.refusal
      )
  )

const open = (named: NamedFile.NamedFile, claim: FileClaim) => {
  const path = NamedFile.nameOf(named)
  switch (claim.as) {
    case "new":
      return NamedFile.create(named, new FileExists({ path }))
    case "found":
      return openFound(named, claim.facts)
    case "overwritten":
      return Effect.catchIf(
        NamedFile.openForWriting(named, "write"),
        ({ missing }) => missing,
        () =>
          Effect.suspend(() => {
            DownloadFolder.forget(named.medium.folder)
            return NamedFile.create(named, new StorageUnavailable({ path, why: "somebody else made it meanwhile" }))
          })
      )
  }
}

/** Opens a file as a claim says; what it opens stays open only if it succeeds. */
export const run = Effect.fnUntraced(function* (named: NamedFile.NamedFile, claim: FileClaim, options: Options) {
  const { folder, fs, isLocal } = named.medium
  const { length } = options
  const { path, ...first } = yield* open(named, claim)
  let fd = first.fd
  const check = Effect.gen(function* () {
    let stats = yield* NamedFile.stat(named, fd, "write")
    const why = claim.as === "found" ? difference(claim.facts, stats) : undefined
    if (why !== undefined) return yield* Effect.fail(fileChanged(named, why))
    yield* options.clean(path) ?? Effect.void
    const isAfresh = claim.as === "found" && claim.afresh === true
    if (stats.nlink > 1n || isAfresh) {
      fd = yield* OwnCopy.replace({
        fs,
        fd,
        path,
        name: NamedFile.nameOf(named),
        stats,
        length: claim.as === "overwritten" ? Math.min(Number(stats.size), length) : Number(stats.size),
        countsBlocks: yield* isLocal(stats, path),
        mayShare: !isAfresh
      })
      options.onCopied()
      DownloadFolder.markChanged(folder, Path.dirname(path))
      stats = yield* NamedFile.stat(named, fd, "write")
    }
    if (claim.as === "overwritten" && stats.size > length) {
      yield* Effect.mapError(
        NodeFile.call((done) => fs.ftruncate(fd, length, done)),
        (error) => FileSystemError.reasonOf(error, NamedFile.nameOf(named), "write")
      )
      options.onCut()
      stats = yield* NamedFile.stat(named, fd, "write")
    }
    return stats
  })
  const claimed: ClaimedFile = { path, stats: yield* NamedFile.closeUnless(named, () => fd, check), fd }
  return claimed
})
