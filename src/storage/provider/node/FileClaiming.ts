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
import type { DownloadFolder } from "./DownloadFolder.ts"
import * as FileHandles from "./FileHandles.ts"
import * as FileSystemError from "./FileSystemError.ts"
import * as HeldFile from "./HeldFile.ts"
import type { NamedFile, OpenedFile } from "./NamedFile.ts"
import * as NodeFile from "./NodeFile.ts"
import * as OwnCopy from "./OwnCopy.ts"

/** A file that is open for writing, as its claim says. */
export interface ClaimedFile extends OpenedFile {
  readonly stats: NFS.BigIntStats
}

/** Opens a file as a claim says; what it opens stays open only if it succeeds. */
export type FileClaiming = (claim: FileClaim) => Effect.Effect<ClaimedFile, FileHandles.OpenFailure>

/** Makes the claims of `named`; touches nothing. */
export const make = (options: {
  readonly fs: NodeFile.NodeFileSystem
  readonly folder: DownloadFolder
  readonly named: NamedFile
  /** Bytes the torrent has in this file. */
  readonly length: number
  /** Whether a file is on a disk of this machine. */
  readonly isLocal: (stats: NFS.BigIntStats, path: string) => Effect.Effect<boolean>
  /** Removes copies of the file with this true path that a crash has left. */
  readonly clean: (path: string) => Effect.Effect<void>
  /** Called when a copy has taken the place of the file. */
  readonly onCopied: () => void
  /** Called when the file was cut to the torrent's length. */
  readonly onCut: () => void
}): FileClaiming => {
  const { folder, fs, length, named } = options
  const { nameOf } = named

  const fileChanged = (why: string) => new FileChanged({ path: nameOf(), why })

  /** What differs between a file and the facts it is claimed by, as the end of a sentence. */
  const difference = (facts: FileFacts, stats: NFS.BigIntStats): string | undefined => {
    if (!HeldFile.isSame(stats, facts.identity)) return HeldFile.replaced
    if (stats.size < facts.length) return HeldFile.cutOff
    return stats.size !== BigInt(facts.length) || stats.mtimeNs !== facts.mtimeNs ? HeldFile.changedSince : undefined
  }

  const openFound = (facts: FileFacts) =>
    Effect.catchIf(
      named.openForWriting("read"),
      ({ missing, reason }) => missing || (reason._tag === "StorageRefused" && facts.kind === "file"),
      ({ missing, reason }) =>
        Effect.mapError(
          Effect.flatMap(folder.present, () =>
            // What cannot be opened is another thing by now, or the same one that may not be written.
            Effect.flatMap(named.look, (stats) =>
              Effect.fail(
                missing || stats === undefined
                  ? fileChanged(HeldFile.deleted)
                  : HeldFile.isSame(stats, facts.identity)
                    ? reason
                    : fileChanged(HeldFile.replaced)
              )
            )
          ),
          FileHandles.refusal
        )
    )

  const open = (claim: FileClaim) => {
    switch (claim.as) {
      case "new":
        return named.create(new FileExists({ path: nameOf() }))
      case "found":
        return openFound(claim.facts)
      case "overwritten":
        return Effect.catchIf(
          named.openForWriting("write"),
          ({ missing }) => missing,
          () =>
            Effect.suspend(() => {
              folder.forget()
              return named.create(new StorageUnavailable({ path: nameOf(), why: "somebody else made it meanwhile" }))
            })
        )
    }
  }

  return (claim) =>
    Effect.gen(function* () {
      const { path, ...first } = yield* open(claim)
      let fd = first.fd
      const check = Effect.gen(function* () {
        let stats = yield* named.stat(fd, "write")
        const why = claim.as === "found" ? difference(claim.facts, stats) : undefined
        if (why !== undefined) return yield* Effect.fail(fileChanged(why))
        yield* options.clean(path)
        const isAfresh = claim.as === "found" && claim.afresh === true
        if (stats.nlink > 1n || isAfresh) {
          fd = yield* OwnCopy.replace({
            fs,
            fd,
            path,
            name: nameOf(),
            stats,
            length: claim.as === "overwritten" ? Math.min(Number(stats.size), length) : Number(stats.size),
            countsBlocks: yield* options.isLocal(stats, path),
            mayShare: !isAfresh
          })
          options.onCopied()
          folder.markChanged(Path.dirname(path))
          stats = yield* named.stat(fd, "write")
        }
        if (claim.as === "overwritten" && stats.size > length) {
          yield* Effect.mapError(
            NodeFile.call((done) => fs.ftruncate(fd, length, done)),
            (error) => FileSystemError.reasonOf(error, nameOf(), "write")
          )
          options.onCut()
          stats = yield* named.stat(fd, "write")
        }
        return stats
      })
      return { path, stats: yield* named.closeUnless(() => fd, check), fd }
    })
}
