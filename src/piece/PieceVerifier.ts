/**
 * Takes completed pieces from the queue and compares each with its digest. What passes goes on to the writer; what does
 * not is thrown away, and whoever sent the bad blocks is found out (`Blame.ts`). Nothing unverified passes here.
 *
 * A storage that verifies by itself compares the piece before it stores any of it, so hashing it here as well would only
 * cost: a second a GiB on Node, and more in a page. Then completed pieces go straight to the writer, which tells what the
 * storage found (`pass`, `check`).
 */
import * as Effect from "effect/Effect"
import * as Queue from "effect/Queue"
import * as Bytes from "../base/Bytes.ts"
import * as Monotonic from "../base/Monotonic.ts"
import type { PieceIndex } from "../base/PieceGeometry.ts"
import * as Blame from "./Blame.ts"
import * as BufferPool from "./BufferPool.ts"
import * as Download from "./Download.ts"
import * as PieceBuffer from "./PieceBuffer.ts"
import { PieceHasher } from "./PieceHasher.ts"
import * as PieceTable from "./PieceTable.ts"
import * as Standing from "./Standing.ts"

/**
 * A piece that fails from a second peer waits this long before it is tried again, doubling with each further one
 * (milliseconds). With one and the same peer it rests longer (`Resting.ts`).
 */
export const firstDelay = 2_000

/** The longest wait of a piece that always fails: bytes for which no peer has a right copy are asked for rarely. */
export const maxDelay = 300_000

/** What the verifier finds out. Peers are named by the numbers of `swarm/PeerBook.ts`. */
export type Verdict =
  | { readonly _tag: "Passed"; readonly piece: PieceIndex; readonly contributors: ReadonlySet<number> }
  | { readonly _tag: "Rejected"; readonly piece: PieceIndex; readonly contributors: ReadonlySet<number> }
  /** The peer sent wrong bytes for the piece, proved and not suspected, which is to be had without it. */
  | { readonly _tag: "Guilty"; readonly piece: PieceIndex; readonly peer: number }
  /**
   * The peer sent wrong bytes for the piece, and nobody else who is connected has a better copy. It may be an honest peer
   * with a rotten disk, so it is asked for that piece again later.
   */
  | { readonly _tag: "Damaged"; readonly piece: PieceIndex; readonly peer: number }

/** What verifies the pieces of a torrent. */
export interface PieceVerifier {
  /** Verifies completed pieces for ever. */
  readonly run: Effect.Effect<never>
  /** Notes that a completed piece has the right bytes. */
  readonly pass: (buffer: PieceBuffer.PieceBuffer) => Effect.Effect<void>
  /** Compares a completed piece with its digest, and passes it or throws it away; tells whether it is right. */
  readonly check: (buffer: PieceBuffer.PieceBuffer) => Effect.Effect<boolean>
}

/** Makes a verifier; `toWrite` must be as deep as there are buffers. */
export const make = Effect.fnUntraced(function* (options: {
  readonly download: Download.Download
  readonly digestOf: (piece: PieceIndex) => Uint8Array
  /** Whether the storage verifies what it is given to write. */
  readonly storageVerifies: boolean
  readonly toWrite: Queue.Enqueue<PieceBuffer.PieceBuffer>
  readonly report: (verdict: Verdict) => void
}) {
  const { download, report, toWrite } = options
  const hasher = yield* PieceHasher
  const blame = Blame.make()

  const digestsOf = Effect.fnUntraced(function* (buffer: PieceBuffer.PieceBuffer, blocks: Iterable<number>) {
    const digests = new Map<number, Uint8Array>()
    for (const block of blocks) digests.set(block, yield* hasher.sha1(PieceBuffer.blockBytes(buffer, block)))
    return digests
  })

  const pass = Effect.fnUntraced(function* (buffer: PieceBuffer.PieceBuffer) {
    const { piece } = buffer
    const contributors = PieceBuffer.contributorsOf(buffer)
    const digests = yield* digestsOf(buffer, Blame.suspectedBlocks(blame, piece))
    const guilty = new Set([...Blame.clear(blame, piece, digests), ...Download.exposed(download, piece, contributors)])
    download.singled.delete(piece)
    PieceTable.verify(download.table, piece)
    Download.redeem(download, piece, contributors)
    report({ _tag: "Passed", piece, contributors })
    for (const peer of guilty) {
      // Whoever was mended since, and sent the right copy alone, is needed as long as there is nobody else.
      const isReplaceable = !contributors.has(peer) || Download.hasOtherSource(download, piece, peer)
      if (isReplaceable) report({ _tag: "Guilty", piece, peer })
    }
  })

  const reject = Effect.fnUntraced(function* (buffer: PieceBuffer.PieceBuffer) {
    const { piece } = buffer
    const contributors = PieceBuffer.contributorsOf(buffer)
    const [sole] = contributors.size === 1 ? contributors : []
    const now = yield* Monotonic.now
    // A copy that was damaged before, from the same peer, is no news: its rests are long enough.
    const isNews = sole === undefined || !Standing.hasDamaged(Download.standingOf(download, sole), piece)
    if (isNews) Blame.fail(blame, piece)
    if (sole === undefined) {
      const digests = yield* digestsOf(buffer, buffer.contributors.keys())
      Blame.suspect(
        blame,
        piece,
        Array.from(digests, ([block, sha1]) => ({ peer: buffer.contributors[block]!, block, sha1 }))
      )
      Download.single(download, piece)
    } else Download.damage(download, piece, sole, now)
    const failures = Blame.failuresOf(blame, piece)
    if (isNews && failures > 1) {
      download.delayed.set(piece, now + Math.min(maxDelay, firstDelay * 2 ** (failures - 2)))
    }
    download.wastedBytes += buffer.bytes.length
    const isReplaceable = sole !== undefined && Download.hasOtherSource(download, piece, sole)
    yield* BufferPool.close(download.pool, piece)
    report({ _tag: "Rejected", piece, contributors })
    if (sole !== undefined) report({ _tag: isReplaceable ? "Guilty" : "Damaged", piece, peer: sole })
  })

  const check = Effect.fnUntraced(function* (buffer: PieceBuffer.PieceBuffer) {
    const digest = yield* hasher.sha1(buffer.bytes)
    const isRight = Bytes.equals(digest, options.digestOf(buffer.piece))
    yield* isRight ? pass(buffer) : reject(buffer)
    return isRight
  })

  const run = Effect.gen(function* () {
    while (true) {
      const buffer = yield* Queue.take(download.completed)
      if (options.storageVerifies || (yield* check(buffer))) Queue.offerUnsafe(toWrite, buffer)
    }
  })

  const self: PieceVerifier = { run, pass, check }
  return self
})
