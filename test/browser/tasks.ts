/** The tasks that a test gives a page, and the page's reports. Both sides import this. All of it is JSON. */
import type * as KnownTorrent from "../../src/testing/KnownTorrent.ts"

/** The address and token of the daemon, as the page is told. */
export interface DaemonAddress {
  readonly url: string
  readonly token: string
}

/** What a page sees of a response: its status, the kind of a refusal, or the error of `fetch`. */
export type Answer =
  | { readonly status: number; readonly kind: string | null; readonly challenge: string | null }
  | { readonly networkError: string }

/** Every task by name: its input (`needs`) and its result (`knows`). */
export interface Tasks {
  /**
   * Stores `torrent` below `root`, reads it back and computes its digests. Reports the steps `prepared` and `written`.
   * The result counts pieces.
   */
  readonly store: {
    readonly needs: { readonly daemon: DaemonAddress; readonly root: string }
    readonly knows: { readonly readBack: number; readonly digested: number }
  }
  /** Writes a byte 0 at the start of a set with `fetch` only. Without a token it sends no `Authorization`. */
  readonly writeByte: {
    readonly needs: { readonly url: string; readonly token?: string; readonly set: string }
    readonly knows: Answer
  }
  /**
   * Sends `length` bytes through the daemon's sockets to an echo server. The result is how many came back unchanged.
   */
  readonly echo: {
    readonly needs: { readonly daemon: DaemonAddress; readonly port: number; readonly length: number }
    readonly knows: number
  }
  /**
   * The same over two encrypted connections: to the peer at `port`, and from that peer to a port of the daemon, which it
   * is sent first, as two bytes. The results are as of `echo`, and whether the page has the WebAssembly module of RC4.
   */
  readonly encrypt: {
    readonly needs: { readonly daemon: DaemonAddress; readonly port: number; readonly length: number }
    readonly knows: { readonly dialled: number; readonly accepted: number; readonly hasModule: boolean }
  }
}

export type Task = { readonly [K in keyof Tasks]: { readonly name: K; readonly needs: Tasks[K]["needs"] } }[keyof Tasks]

/** The final report of a page: its result, or why it failed. */
export type Report = { readonly knows: unknown } | { readonly failure: string }

/** A point within a task. The page continues after the test has recorded it. */
export type Step = "prepared" | "written"

/** The number of pieces in `torrent`. */
export const pieceCount = 200

/** 200 pieces over files longer and shorter than a piece, an empty file, and padding. The last piece is short. */
export const torrent: KnownTorrent.Options = {
  pieceLength: 16_384,
  files: [
    { path: ["long.bin"], length: 100 * 16_384 + 5 },
    { path: [".pad", "16379"], length: 16_379, padding: true },
    { path: ["empty.txt"], length: 0 },
    ...Array.from({ length: 50 }, (_, index) => ({ path: ["short", `${index}.bin`], length: 1_001 })),
    { path: ["ä folder", "rest.bin"], length: 98 * 16_384 - 50 * 1_001 + 7 }
  ]
}
