/**
 * Looks where the files of a torrent of another client are. Only looks: nothing is opened, moved or made.
 */
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Bitfield from "../../base/Bitfield.ts"
import * as FileLayout from "../../metainfo/FileLayout.ts"
import * as Hint from "../../torrent/Hint.ts"
import type { RenamedFile } from "../SavedTorrent.ts"
import type { ForeignTorrent } from "./ForeignTorrent.ts"

/** Files that are looked for in each folder. A torrent of more files is where most of these are. */
const maxLooks = 1_000

/** Where the files are. */
export interface Places {
  readonly folder: string
  readonly renamed: ReadonlyArray<RenamedFile>
  /** What a user should know, as sentences. */
  readonly notes: ReadonlyArray<string>
}

/** A file in a folder: its path there, as components; `undefined` if it is not there. */
type Found = ReadonlyMap<number, ReadonlyArray<string> | undefined>

/** Looks in the folders of a torrent. */
export const find = Effect.fnUntraced(function* (torrent: ForeignTorrent) {
  const { folders, imported, structure, suffix } = torrent
  const renamed = imported.renamed ?? []
  const [first = ""] = folders
  if (structure === undefined) return { folder: first, renamed, notes: [] } satisfies Places
  const { layout } = structure
  const hint = imported.hintedPieces && Bitfield.fitted(imported.hintedPieces, layout.geometry.pieceCount)
  const named = new Map(renamed.map(({ file, path }) => [file, path]))
  // Only files that should be there. Without a hint, any may be.
  const files = FileLayout.realFiles(layout)
    .filter((file) => FileLayout.lengthOf(layout, file) > 0)
    .filter((file) => hint === undefined || Hint.speaksFor(layout, hint, file))
    .slice(0, maxLooks)
  let best: { readonly folder: string; readonly found: Found; readonly count: number } | undefined
  for (const folder of folders) {
    const found = yield* lookIn(
      folder,
      files,
      (file) => {
        const { original, path, portable } = FileLayout.fileAt(layout, file)
        const own = named.get(file)
        return own === undefined ? [path, original, portable].filter((name) => name !== undefined) : [own]
      },
      suffix
    )
    const count = [...found.values()].filter((path) => path !== undefined).length
    if (best === undefined || count > best.count) best = { folder, found, count }
  }
  const { count, folder, found } = best ?? { folder: first, found: new Map() as Found, count: 0 }
  const notes: Array<string> = []
  const missing = files.length - count
  if (hint !== undefined && count === 0 && missing > 0)
    notes.push(`None of its files is in ${folder}: it waits for them.`)
  else if (hint !== undefined && missing > 0)
    notes.push(`${missing} of its files are not in ${folder}, and are fetched again.`)
  if (folder !== first) notes.push(`Its files stay in ${folder}, also when it is complete.`)
  const unfinished: Array<RenamedFile> = []
  for (const [file, path] of found) {
    const [head, ...rest] = path ?? []
    if (head !== undefined && path?.at(-1)?.endsWith(suffix) === true && !named.has(file))
      unfinished.push({ file, path: [head, ...rest] })
  }
  const ending = [...renamed, ...unfinished].filter(({ path }) => path.at(-1)?.endsWith(suffix) === true)
  if (ending.length > 0)
    notes.push(
      `The names of ${ending.length} files end in ${suffix}, also when they are complete. They can be renamed.`
    )
  return { folder, renamed: [...renamed, ...unfinished], notes } satisfies Places
})

/** Looks for files in a folder, by any of their names, and by these with the suffix of an incomplete file. */
const lookIn = Effect.fnUntraced(function* (
  folder: string,
  files: ReadonlyArray<number>,
  namesOf: (file: number) => ReadonlyArray<ReadonlyArray<string>>,
  suffix: string
) {
  const fs = yield* FileSystem.FileSystem
  const isThere = (path: ReadonlyArray<string>) =>
    Effect.orElseSucceed(fs.exists(`${folder}/${path.join("/")}`), () => false)
  const found = new Map<number, ReadonlyArray<string> | undefined>()
  for (const file of files) {
    const names = namesOf(file)
    let path: ReadonlyArray<string> | undefined
    for (const name of [...names, ...names.map((name) => [...name.slice(0, -1), `${name.at(-1)}${suffix}`])]) {
      if (path === undefined && (yield* isThere(name))) path = name
    }
    found.set(file, path)
  }
  return found as Found
})
