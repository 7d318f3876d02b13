/**
 * The laws that every simulated swarm keeps: the engine writes no wrong byte; its buffers stay within the budget;
 * resume data names no piece that was not stored, and no peer hears of one that was neither stored nor hinted at; no more
 * peers are unchoked than there are slots. Dies with the seed and the time if a law is broken.
 */
import * as Effect from "effect/Effect"
import * as Bitfield from "../base/Bitfield.ts"
import type { InfoHash } from "../base/InfoHash.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as PieceGeometry from "../base/PieceGeometry.ts"
import type * as Engine from "../engine/Engine.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import type * as MemoryResumeStore from "../resume/provider/MemoryResumeStore.ts"
import type * as MemoryStorage from "../storage/provider/memory/MemoryStorage.ts"
import type { Torrent } from "../torrent/Torrent.ts"
import type * as CheckedStorage from "./CheckedStorage.ts"
import type * as KnownTorrents from "./KnownTorrents.ts"
import type * as ScriptedPeer from "./ScriptedPeer.ts"
import type * as Simulation from "./Simulation.ts"

/** A torrent of the engine. */
export interface Subject {
  readonly torrent: Torrent
  readonly infoHash: InfoHash
  /** What is known of it; nothing yet, if it was added by a magnet link and no peer of the world has it. */
  readonly known: () => KnownTorrents.Known | undefined
  /** The most peers that may be unchoked. */
  readonly slots: number
  /** Scripted peers that no other engine knows. */
  readonly peers: () => ReadonlyArray<ScriptedPeer.ScriptedPeer>
  /** Whether any of its files existed when it was added. */
  readonly hadFiles: boolean
  /** Pieces that it was given a hint for: peers may hear of them before they are verified. */
  readonly hinted: number
}

/** The laws of one engine. */
export interface SwarmLaws {
  /** Looks at the buffers. */
  readonly inspectBuffers: Effect.Effect<void>
  /** Looks at everything. */
  readonly inspect: Effect.Effect<void>
  /** The most bytes that buffers took at once, as far as inspections saw. */
  readonly mostBufferedBytes: () => number
}

/** Makes the laws of one engine. */
export const make = (options: {
  readonly simulation: Simulation.Simulation["Service"]
  readonly engine: Engine.Engine["Service"]
  /** The most bytes that the engine's buffers may take. */
  readonly bufferBytes: number
  readonly checked: ReturnType<typeof CheckedStorage.make>
  readonly medium: MemoryStorage.MemoryMedium["Service"]
  readonly resume: MemoryResumeStore.MemoryResumeStore["Service"]
  /** What runs in the engine now. */
  readonly subjects: () => Iterable<Subject>
  /** Pieces that an earlier run has stored. */
  readonly storedBefore: (infoHash: InfoHash) => Bitfield.Bitfield
}): SwarmLaws => {
  const { bufferBytes, checked, engine, medium, resume, simulation } = options
  let mostBufferedBytes = 0

  const broken = (what: string) =>
    Effect.die(new Error(`seed ${simulation.seed}, after ${simulation.nowUnsafe()} ms of simulated time: ${what}`))

  const inspectBuffers = Effect.gen(function* () {
    const buffered = yield* engine.heldBytes
    mostBufferedBytes = Math.max(mostBufferedBytes, buffered)
    if (buffered <= bufferBytes) return
    // A piece that is larger than all buffers is held alone. A repair after a failed flush does not wait, so one more
    // piece may be above the bound.
    const alone: Array<number> = []
    let repairBytes = 0
    for (const { known, torrent } of options.subjects()) {
      const layout = known()?.metainfo.layout
      if (layout === undefined) continue
      const largest = Math.min(layout.geometry.pieceLength, layout.geometry.totalLength)
      if (largest > bufferBytes) alone.push(largest)
      if ((yield* torrent.status).state._tag === "StorageFailing") repairBytes = Math.max(repairBytes, largest)
    }
    const isAllowed =
      repairBytes === 0 ? alone.includes(buffered) : buffered <= Math.max(bufferBytes, ...alone) + repairBytes
    if (isAllowed) return
    return yield* broken(
      `buffers take ${buffered} bytes of ${bufferBytes}; pieces larger than that: ${alone.join(", ") || "none"}`
    )
  })

  /** Whether the files hold the right bytes of a piece, whichever program wrote them. */
  const isOnMedium = ({ judge, metainfo }: KnownTorrents.Known, piece: PieceIndex): Effect.Effect<boolean> => {
    const { layout } = metainfo
    const bytes = new Uint8Array(PieceGeometry.pieceSize(layout.geometry, piece))
    for (const { begin, file, fileOffset, length } of FileLayout.pieceSpans(layout, piece)) {
      if (FileLayout.isPadding(layout, file)) continue
      const found = medium.read(FileLayout.pathOf(layout, file).join("/"))
      if (found === undefined || found.length < fileOffset + length) return Effect.succeed(false)
      bytes.set(found.subarray(fileOffset, fileOffset + length), begin)
    }
    return Effect.map(judge(piece, bytes), (wrong) => wrong === undefined)
  }

  /** Pieces of the torrent that were stored in this run, or may have been there before. */
  const countStored = Effect.fnUntraced(function* (
    { hadFiles }: Subject,
    known: KnownTorrents.Known,
    confirmed: ReadonlyMap<number, number>
  ) {
    const { geometry } = known.metainfo.layout
    let count = confirmed.size
    if (!hadFiles) return count
    for (let piece = 0; piece < geometry.pieceCount; piece++) {
      if (!confirmed.has(piece) && (yield* isOnMedium(known, piece as PieceIndex))) count++
    }
    return count
  })

  return {
    inspectBuffers,
    inspect: Effect.gen(function* () {
      yield* inspectBuffers
      const wrong = checked.wrong()
      if (wrong !== undefined) return yield* broken(wrong)
      for (const subject of options.subjects()) {
        const { infoHash, slots, torrent } = subject
        const known = subject.known()
        if (known === undefined) continue
        const { confirmed } = checked.writes(infoHash)
        for (const piece of Bitfield.indices(resume.saved(infoHash)?.stored ?? Bitfield.make(0))) {
          if (confirmed.has(piece) || Bitfield.has(options.storedBefore(infoHash), piece)) continue
          if (yield* isOnMedium(known, piece as PieceIndex)) continue
          return yield* broken(`resume data names piece ${piece}, which was never stored`)
        }
        for (const { counters } of subject.peers()) {
          if (counters.haves <= confirmed.size * counters.connections) continue
          const stored = subject.hinted + (yield* countStored(subject, known, confirmed))
          if (counters.haves <= stored * counters.connections) continue
          return yield* broken(`a peer heard of ${counters.haves} pieces, and ${stored} were stored`)
        }
        const { unchokedPeers } = yield* torrent.status
        if (unchokedPeers > slots) return yield* broken(`${unchokedPeers} peers are unchoked, in ${slots} slots`)
      }
    }),
    mostBufferedBytes: () => mostBufferedBytes
  }
}
