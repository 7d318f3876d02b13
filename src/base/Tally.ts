/**
 * What is counted for all torrents of an engine. The stages add to plain numbers, and whoever reports them reads them
 * when somebody asks. So counting costs the same whether anybody asks or not.
 *
 * Bytes are counted per block, so a running torrent counts its own (`Transferred`), and adds them here when its run
 * ends. Everything else is counted here at once: it happens once a piece, or less often.
 */
import * as Histogram from "./Histogram.ts"

/** The counts. */
export interface Tally {
  /** Payload bytes of runs that have ended. */
  readonly ended: { downloadedBytes: number; wastedBytes: number; uploadedBytes: number }
  /** Pieces whose write the storage has confirmed. */
  storedPieces: number
  /** Pieces that had the wrong digest, counted each time. */
  rejectedPieces: number
  /** Writes of pieces that failed, and are repeated. */
  failedWrites: number
  /** Answers and failures of peer sources, such as trackers. */
  sourceAnswers: number
  sourceFailures: number
  /** Seconds from a request to its block, of one block a piece: the first. */
  readonly requestSeconds: Histogram.Histogram
  /** Seconds that computing the digest of a piece took. */
  readonly verifySeconds: Histogram.Histogram
  /** Seconds until the storage confirmed the write of a piece, waits for room and for its files included. */
  readonly writeSeconds: Histogram.Histogram
}

/** Payload bytes of one run of a torrent. */
export interface Transferred {
  readonly downloadedBytes: number
  readonly wastedBytes: number
  readonly uploadedBytes: number
}

/**
 * The bounds of the buckets in seconds: from a write to the page cache to a disk or a peer that hardly answers. The
 * longest is that after which a request times out.
 */
export const bounds: ReadonlyArray<number> = [
  0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10
]

/** Makes an empty tally. */
export const make = (): Tally => ({
  ended: { downloadedBytes: 0, wastedBytes: 0, uploadedBytes: 0 },
  storedPieces: 0,
  rejectedPieces: 0,
  failedWrites: 0,
  sourceAnswers: 0,
  sourceFailures: 0,
  requestSeconds: Histogram.make(bounds),
  verifySeconds: Histogram.make(bounds),
  writeSeconds: Histogram.make(bounds)
})

/** Adds what a run has transferred, which has just ended. */
export const end = ({ ended }: Tally, run: Transferred): void => {
  ended.downloadedBytes += run.downloadedBytes
  ended.wastedBytes += run.wastedBytes
  ended.uploadedBytes += run.uploadedBytes
}
