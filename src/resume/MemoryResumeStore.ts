/**
 * Resume data that lives as long as the layer, for tests and for engines that start anew each time. A test looks at what
 * was saved, and cuts the power.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Bitfield from "../base/Bitfield.ts"
import * as Bytes from "../base/Bytes.ts"
import type { InfoHash } from "../base/InfoHash.ts"
import { type ResumeData, ResumeStore, type TorrentResume } from "./ResumeStore.ts"

/** The inside of the store. */
export class MemoryResumeStore extends Context.Service<
  MemoryResumeStore,
  {
    /** What `load` would give for the torrent now, copied. */
    readonly saved: (infoHash: InfoHash) => ResumeData | undefined
    /** How many snapshots have been saved, over all torrents. */
    readonly saveCount: () => number
    /** From here on only what was flushed is trusted of what was saved so far. */
    readonly cutPower: Effect.Effect<void>
  }
>()("piecewise/resume/MemoryResumeStore") {}

interface Entry {
  readonly stored: Bitfield.Bitfield
  readonly flushed: Bitfield.Bitfield
  readonly boot: number
}

/** Makes an empty store. */
export const make = () => {
  const entries = new Map<string, Entry>()
  let saveCount = 0
  let boot = 0

  const read = (key: string, pieceCount: number | undefined): ResumeData | undefined => {
    const entry = entries.get(key)
    if (entry === undefined || (pieceCount !== undefined && entry.stored.length !== pieceCount)) return undefined
    return {
      stored: Bitfield.copy(entry.stored),
      flushed: Bitfield.copy(entry.flushed),
      trusted: Bitfield.copy(entry.boot === boot ? entry.stored : entry.flushed)
    }
  }

  const torrent = (key: string, pieceCount: number): TorrentResume => ({
    load: Effect.sync(() => read(key, pieceCount)),
    save: (pieces) =>
      Effect.sync(() => {
        const flushed = Bitfield.make(pieceCount)
        for (const piece of Bitfield.indices(pieces.flushed))
          if (Bitfield.has(pieces.stored, piece)) Bitfield.add(flushed, piece)
        entries.set(key, { stored: Bitfield.copy(pieces.stored), flushed, boot })
        saveCount++
      }),
    append: (pieces) =>
      Effect.sync(() => {
        let entry = entries.get(key)
        if (entry === undefined || entry.stored.length !== pieceCount) {
          entry = { stored: Bitfield.make(pieceCount), flushed: Bitfield.make(pieceCount), boot }
          entries.set(key, entry)
        }
        for (const piece of pieces) {
          Bitfield.add(entry.stored, piece)
          Bitfield.remove(entry.flushed, piece)
        }
      }),
    remove: Effect.sync(() => {
      entries.delete(key)
    })
  })

  return {
    store: ResumeStore.of({
      open: (infoHash, pieceCount) => Effect.sync(() => torrent(Bytes.toHex(infoHash), pieceCount))
    }),
    inside: MemoryResumeStore.of({
      saved: (infoHash) => read(Bytes.toHex(infoHash), undefined),
      saveCount: () => saveCount,
      cutPower: Effect.sync(() => {
        boot++
      })
    })
  }
}

/** An empty store, and its inside. */
export const layer: Layer.Layer<ResumeStore | MemoryResumeStore> = Layer.effectContext(
  Effect.sync(() => {
    const { inside, store } = make()
    return Context.make(ResumeStore, store).pipe(Context.add(MemoryResumeStore, inside))
  })
)
