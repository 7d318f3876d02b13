/** What `KnownFiles` knows of each file, as values that tests can compare. */
import type { PieceIndex } from "../../src/base/PieceGeometry.ts"
import type { FileFacts } from "../../src/storage/Storage.ts"
import type { Standing } from "../../src/torrent/Adoption.ts"
import * as KnownFiles from "../../src/torrent/KnownFiles.ts"

export interface KnownFile {
  readonly standing: Standing
  readonly facts: FileFacts
  readonly isWriting: boolean
  readonly isStale: boolean
  readonly toCompare: ReadonlySet<PieceIndex>
}

export const get = (self: KnownFiles.KnownFiles, file: number): KnownFile | undefined => {
  const facts = KnownFiles.factsOf(self, file)
  return (
    facts && {
      standing: KnownFiles.standingOf(self, file)!,
      facts,
      isWriting: KnownFiles.isWriting(self, file),
      isStale: KnownFiles.isStale(self, file),
      toCompare: new Set(self.toCompare.get(file))
    }
  )
}

export const all = (self: KnownFiles.KnownFiles): ReadonlyMap<number, KnownFile> =>
  new Map(KnownFiles.existing(self).map((file) => [file, get(self, file)!]))

/** The files by their index, as they are whenever they are asked for. */
export const viewOf = (self: KnownFiles.KnownFiles) => ({
  get: (file: number) => get(self, file),
  has: (file: number) => KnownFiles.has(self, file),
  values: () => all(self).values(),
  get size() {
    return all(self).size
  },
  setWriting: (file: number, isSet: boolean) => KnownFiles.setWriting(self, file, isSet),
  setStale: (file: number, isSet: boolean) => KnownFiles.setStale(self, file, isSet)
})
