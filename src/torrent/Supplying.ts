/**
 * Runs what supplies blocks of a torrent besides its peers, while pieces are wanted that are not stored.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { SupplierContext, SupplierEvent, SupplierSource } from "../assembly/SupplierSource.ts"
import * as Signal from "../base/Signal.ts"
import * as Sources from "./Sources.ts"
import type { TorrentEvent } from "./TorrentEvent.ts"
import * as TorrentLife from "./TorrentLife.ts"
import * as Watch from "./Watch.ts"

/**
 * Runs the sources of suppliers until the scope closes. Nothing runs of a torrent that lacks nothing, and nothing is
 * kept for one that has no suppliers besides its peers.
 */
export const run = Effect.fnUntraced(function* (
  all: ReadonlyArray<SupplierSource>,
  life: TorrentLife.TorrentLife,
  context: SupplierContext
): Effect.fn.Return<void, never, Scope.Scope> {
  const some = all.filter(({ mayHave }) => mayHave === undefined || mayHave(context))
  if (some.length === 0) return
  const supplying = Effect.forEach(some, ({ supply }) => Effect.scoped(supply(context)), {
    concurrency: "unbounded",
    discard: true
  })
  const enough = Watch.until(life.watch, () => (TorrentLife.wantsPieces(life) ? undefined : true))
  yield* Signal.attend(
    life.lacking,
    Effect.suspend(() =>
      TorrentLife.wantsPieces(life) ? Effect.asVoid(Effect.raceFirst(supplying, enough)) : Effect.void
    )
  )
  Signal.set(life.lacking)
})

/** Remembers how a supplier is doing, and reports it. */
export const note = (sources: Sources.Sources, event: SupplierEvent, report: (event: TorrentEvent) => void): void => {
  const { supplier } = event
  if (event._tag === "Failed") {
    Sources.noteSupplier(sources, supplier, event.why)
    report({ _tag: "SupplierFailed", supplier, why: event.why })
  } else {
    Sources.noteSupplier(sources, supplier, undefined)
    report({ _tag: "SupplierJoined", supplier })
  }
}
