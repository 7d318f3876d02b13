/**
 * The contract of whatever supplies blocks of a torrent beside its peers: web seeds, a cache on the local network, a map.
 *
 * A source makes a `Supplier`, joins the assembly with it (`Assembly.join`, `Assembly.gainAll`, `Assembly.unchoked`), requests
 * blocks for it (`Requests.refill`, `Requests.begin`), writes what arrives to its place (`PieceBuffer.write`), and says so
 * (`Assembly.arriving`, `Assembly.received`). Everything else is as for peers: which piece is next, the end game, digests, and
 * who is blamed.
 */
import * as Context from "effect/Context"
import type * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import type { Metainfo } from "../metainfo/Metainfo.ts"
import type { TorrentLimits } from "../rate/RateLimits.ts"
import type { Assembly } from "./Assembly.ts"

/** The torrent that blocks are wanted for. */
export interface SupplierContext {
  readonly metainfo: Metainfo
  /** All piece state of the torrent. A supplier takes its number from `assembly.ids`. */
  readonly assembly: Assembly
  readonly limits: TorrentLimits
}

/** Supplies blocks of any torrent. It is made once for an engine. */
export interface SupplierSource {
  /**
   * Supplies blocks until it is interrupted; ends at once if it has none of this torrent. It retries by itself and never fails.
   * Its suppliers leave the assembly with the scope, which closes with the effect. One that was expelled, or was not joined
   * when it should have been, must not come back under the same number.
   */
  readonly supply: (context: SupplierContext) => Effect.Effect<void, never, Scope.Scope>
}

/** The sources that every torrent of an engine uses; default none. */
export const SupplierSources = Context.Reference<ReadonlyArray<SupplierSource>>("piecewise/assembly/SupplierSources", {
  defaultValue: () => []
})
