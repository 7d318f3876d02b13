/** What a test asks of a page, and what the page then tells it; both sides import this. All of it is JSON. */
import type * as KnownTorrent from "../../src/testing/KnownTorrent.ts"

/** Where the daemon is, as the page is to believe. */
export interface DaemonAddress {
  readonly url: string
  readonly token: string
}

/** How the daemon answered a page: what it may read of the answer, of a refusal its kind, or what `fetch` failed with. */
export type Answer =
  | { readonly status: number; readonly kind: string | null; readonly challenge: string | null }
  | { readonly networkError: string }

/** Every task by its name: what the page needs for it, and what it knows when it is done. */
export interface Tasks {
  /**
   * Stores `torrent` below `root`, reads it back and has it digested. Tells when it is `prepared` and `written`; the
   * result counts pieces.
   */
  readonly store: {
    readonly needs: { readonly daemon: DaemonAddress; readonly root: string }
    readonly knows: { readonly readBack: number; readonly digested: number }
  }
  /** Writes a byte of 0 at the start of a set with `fetch` alone; no token, no `Authorization`. */
  readonly writeByte: {
    readonly needs: { readonly url: string; readonly token?: string; readonly set: string }
    readonly knows: Answer
  }
  /** Sends `length` bytes through the daemon's sockets to an echo server; gives how many came back right. */
  readonly echo: {
    readonly needs: { readonly daemon: DaemonAddress; readonly port: number; readonly length: number }
    readonly knows: number
  }
}

/** The task of one page. */
export type Task = { readonly [K in keyof Tasks]: { readonly name: K; readonly needs: Tasks[K]["needs"] } }[keyof Tasks]

/** What a page tells at its end: what it knows, or why it failed. */
export type Report = { readonly knows: unknown } | { readonly failure: string }

/** A moment within a task. The page goes on when the test has taken note. */
export type Step = "prepared" | "written"

/** How many pieces `torrent` has. */
export const pieceCount = 200

/** 200 pieces over files that are longer and shorter than one, empty, and padding; the last piece is short. */
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
