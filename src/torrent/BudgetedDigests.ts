/**
 * Digests stored pieces within the memory budget of the engine. However many torrents are checked at once, those that
 * do not fit wait for their turn.
 */
import * as Effect from "effect/Effect"
import * as Stream from "effect/Stream"
import * as BorrowedBytes from "../assembly/BorrowedBytes.ts"
import type * as BufferBudget from "../assembly/BufferBudget.ts"
import type { TorrentStorage } from "../storage/Storage.ts"

/** The same storage; its digests borrow what they need from the budget. */
export const make = (storage: TorrentStorage, ledger: BufferBudget.Ledger): TorrentStorage => ({
  ...storage,
  digests: (pieces) =>
    Stream.unwrap(
      Effect.as(
        Effect.suspend(() => BorrowedBytes.borrow(ledger, storage.digestBytes ?? 0)),
        storage.digests(pieces)
      )
    )
})
