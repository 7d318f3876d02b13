/**
 * The laws that every simulated swarm keeps: the engine writes no wrong byte; its buffers stay within the budget;
 * resume data names no piece that was not stored, and no peer hears of one; no more peers are unchoked than there are
 * slots. Dies with the seed and the time if a law is broken.
 */
import * as Effect from "effect/Effect"
import * as Bitfield from "../base/Bitfield.ts"
import * as Bytes from "../base/Bytes.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import type * as Engine from "../engine/Engine.ts"
import * as FileLayout from "../metainfo/FileLayout.ts"
import type * as MemoryResumeStore from "../resume/provider/MemoryResumeStore.ts"
import type * as MemoryStorage from "../storage/provider/memory/MemoryStorage.ts"
import type { Torrent } from "../torrent/Torrent.ts"
import type * as CheckedStorage from "./CheckedStorage.ts"
import type { KnownTorrent } from "./KnownTorrent.ts"
import type * as ScriptedPeer from "./ScriptedPeer.ts"
import type * as Simulation from "./Simulation.ts"

/** A torrent of the engine, and the peers that were made for it. */
export interface Subject {
  readonly known: KnownTorrent
  readonly torrent: Torrent
  readonly peers: ReadonlyArray<ScriptedPeer.Serving>
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
  /** What runs in the engine now, with the upload slots of each. */
  readonly subjects: () => Iterable<readonly [Subject, slots: number]>
  /** Pieces that an earlier run has stored. */
  readonly storedBefore: (known: KnownTorrent) => Bitfield.Bitfield
}): SwarmLaws => {
  const { bufferBytes, checked, engine, medium, resume, simulation } = options
  let mostBufferedBytes = 0

  const broken = (what: string) =>
    Effect.die(new Error(`seed ${simulation.seed}, after ${simulation.nowUnsafe()} ms of simulated time: ${what}`))

  const inspectBuffers = Effect.gen(function* () {
    const buffered = yield* engine.heldBytes
    mostBufferedBytes = Math.max(mostBufferedBytes, buffered)
    if (buffered <= bufferBytes) return
    // A repair after a failed flush does not wait, so one piece may be above the bound.
    let repairBytes = 0
    for (const [{ known, torrent }] of options.subjects()) {
      const { pieceLength } = known.metainfo.layout.geometry
      if ((yield* torrent.status).state._tag === "StorageFailing") repairBytes = Math.max(repairBytes, pieceLength)
    }
    const allowed = bufferBytes + repairBytes
    if (buffered > allowed) return yield* broken(`buffers of ${buffered} bytes, of ${allowed} allowed`)
  })

  /** Whether the files hold the right bytes of a piece, whichever program wrote them. */
  const isOnMedium = ({ content, metainfo: { layout } }: KnownTorrent, piece: PieceIndex): boolean =>
    FileLayout.pieceSpans(layout, piece).every(({ begin, file, fileOffset, length }) => {
      if (FileLayout.isPadding(layout, file)) return true
      const found = medium.read(FileLayout.pathOf(layout, file).join("/"))?.subarray(fileOffset, fileOffset + length)
      return found !== undefined && Bytes.equals(found, content(piece).subarray(begin, begin + length))
    })

  return {
    inspectBuffers,
    inspect: Effect.gen(function* () {
      yield* inspectBuffers
      for (const [{ known, peers, torrent }, slots] of options.subjects()) {
        const { infoHash, layout } = known.metainfo
        const { confirmed, wrong } = checked.writes(layout)
        if (wrong.length > 0) return yield* broken(wrong[0]!)
        for (const piece of Bitfield.indices(resume.saved(infoHash)?.stored ?? Bitfield.make(0))) {
          if (confirmed.has(piece) || Bitfield.has(options.storedBefore(known), piece)) continue
          if (isOnMedium(known, piece as PieceIndex)) continue
          return yield* broken(`resume data names piece ${piece}, which was never stored`)
        }
        for (const { counters } of peers) {
          if (counters.haves <= confirmed.size * counters.connections) continue
          return yield* broken(`a peer heard of ${counters.haves} pieces, and ${confirmed.size} were stored`)
        }
        const { unchokedPeers } = yield* torrent.status
        if (unchokedPeers > slots) return yield* broken(`${unchokedPeers} peers are unchoked, in ${slots} slots`)
      }
    }),
    mostBufferedBytes: () => mostBufferedBytes
  }
}
