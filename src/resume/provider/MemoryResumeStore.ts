/**
 * Resume data that exists as long as the layer, for tests and for engines that start without history. Tests can see
 * what was saved, and cut the power.
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as Bitfield from "../../base/Bitfield.ts"
import * as Bytes from "../../base/Bytes.ts"
import type { InfoHash } from "../../base/InfoHash.ts"
import {
  type FileRecord,
  type OpenOptions,
  type ResumeData,
  ResumeError,
  ResumeStore,
  type TorrentResume
} from "../ResumeStore.ts"

/** The inside of the store. */
export class MemoryResumeStore extends Context.Service<
  MemoryResumeStore,
  {
    /** What `load` would return for the torrent now, copied. */
    readonly saved: (infoHash: InfoHash) => ResumeData | undefined
    /** How many snapshots have been saved, over all torrents. */
    readonly saveCount: () => number
    /** Restarts the machine: what was saved so far was saved before the restart. */
    readonly cutPower: Effect.Effect<void>
    /** Makes every append fail from now on, or succeed again; snapshots can always be saved. */
    readonly failAppends: (fails: boolean) => void
  }
>()("piecewise/resume/MemoryResumeStore") {}

interface Entry {
  readonly stored: Bitfield.Bitfield
  readonly flushed: Bitfield.Bitfield
  readonly files: Map<number, FileRecord>
  readonly boot: number
}

/** Makes an empty store. */
export const make = () => {
  const entries = new Map<string, Entry>()
  let saveCount = 0
  let boot = 0
  let appendsFail = false

  const read = (key: string, pieceCount: number | undefined): ResumeData | undefined => {
    const entry = entries.get(key)
    if (entry === undefined || (pieceCount !== undefined && entry.stored.length !== pieceCount)) return undefined
    return {
      stored: Bitfield.copy(entry.stored),
      flushed: Bitfield.copy(entry.flushed),
      files: new Map(entry.files),
      isSameBoot: entry.boot === boot
    }
  }

  const torrent = (key: string, { pieceCount }: OpenOptions): TorrentResume => ({
    load: Effect.sync(() => read(key, pieceCount)),
    save: (snapshot) =>
      Effect.sync(() => {
        const flushed = Bitfield.make(pieceCount)
        for (const piece of Bitfield.indices(snapshot.flushed))
          if (Bitfield.has(snapshot.stored, piece)) Bitfield.add(flushed, piece)
        entries.set(key, { stored: Bitfield.copy(snapshot.stored), flushed, files: new Map(snapshot.files), boot })
        saveCount++
      }),
    append: Effect.fnUntraced(function* ({ dropped = [], files = new Map(), flushed = [], stored = [] }) {
      if (appendsFail) return yield* new ResumeError({ operation: "append", path: key, why: "the disk is full" })
      if (files.size + dropped.length + stored.length + flushed.length === 0) return
      let entry = entries.get(key)
      if (entry === undefined || entry.stored.length !== pieceCount) {
        entry = { stored: Bitfield.make(pieceCount), flushed: Bitfield.make(pieceCount), files: new Map(), boot }
        entries.set(key, entry)
      }
      for (const [file, record] of files) entry.files.set(file, record)
      for (const piece of dropped) {
        Bitfield.remove(entry.stored, piece)
        Bitfield.remove(entry.flushed, piece)
      }
      for (const piece of stored) {
        Bitfield.add(entry.stored, piece)
        Bitfield.remove(entry.flushed, piece)
      }
      for (const piece of flushed) if (Bitfield.has(entry.stored, piece)) Bitfield.add(entry.flushed, piece)
    }),
    remove: Effect.sync(() => {
      entries.delete(key)
    })
  })

  return {
    store: ResumeStore.of({
      open: (options) => Effect.sync(() => torrent(Bytes.toHex(options.infoHash), options))
    }),
    inside: MemoryResumeStore.of({
      saved: (infoHash) => read(Bytes.toHex(infoHash), undefined),
      saveCount: () => saveCount,
      cutPower: Effect.sync(() => {
        boot++
      }),
      failAppends: (fails) => {
        appendsFail = fails
      }
    })
  }
}

/**
 * An empty store, and its inside.
 *
 * ```ts
 * import assert from "node:assert/strict"
 * import { Effect } from "effect"
 * import { Bitfield, InfoHash, MemoryResumeStore, PieceGeometry, ResumeStore } from "piecewise"
 *
 * const infoHash = InfoHash.fromBytes(new Uint8Array(20))!
 * const geometry = PieceGeometry.make({ totalLength: 50_000, pieceLength: 16_384 })
 * const program = Effect.gen(function* () {
 *   const store = yield* ResumeStore.ResumeStore
 *   const torrent = yield* store.open({ infoHash, pieceCount: geometry.pieceCount, fileCount: 1 })
 *   yield* torrent.append({ stored: [PieceGeometry.pieceIndexUnsafe(geometry, 2)] })
 *
 *   const { saved } = yield* MemoryResumeStore.MemoryResumeStore
 *   assert.deepEqual([...Bitfield.indices(saved(infoHash)!.stored)], [2])
 * })
 * await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(MemoryResumeStore.layer)))
 * ```
 */
export const layer: Layer.Layer<ResumeStore | MemoryResumeStore> = Layer.effectContext(
  Effect.sync(() => {
    const { inside, store } = make()
    return Context.make(ResumeStore, store).pipe(Context.add(MemoryResumeStore, inside))
  })
)
